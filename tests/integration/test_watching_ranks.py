"""What is looked at while several processes train: counted over all of them, written and said by the first alone."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import lightning
from tests.helpers.cli import WarmProgram
from tests.helpers.photos import make_photos
from tests.helpers.ranks import gloo, run_ranks
from tests.helpers.training import IMAGE_SIZE, make_model, make_trainer

from classifier_training.callbacks import (
    DatasetStatisticsCallback,
    MetricsCSV,
    ModelInfoCallback,
    SamplerDistributionCallback,
    Throughput,
    TrainingHistoryCallback,
    TrainingProgress,
)
from classifier_training.data import ImageFolderDataModule
from classifier_training.run.folder import RunFolder
from classifier_training.terminal.terminal import Terminal

CLASSES = ("few", "many")


class Seen(lightning.Callback):
    """Counts the classes that this rank trains on, by epoch."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[int, str]] = Counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, model: Any, outputs: Any, batch: Any, index: int) -> None:
        self.counts.update((trainer.current_epoch, CLASSES[int(label)]) for label in batch["labels"])


def fit(folder: Path, world_size: int, photos: str) -> Any:
    """Trains with every callback that looks; what this rank has seen, and which files are its own."""
    data = ImageFolderDataModule(photos, image_size=IMAGE_SIZE, batch_size=4, balance="sampler", num_workers=0)
    seen, throughput = Seen(), Throughput()
    trainer: Any = make_trainer(
        folder, strategy=gloo(), devices=world_size, max_epochs=2, use_distributed_sampler=False
    )
    run = RunFolder(folder / f"rank{trainer.global_rank}")
    terminal = Terminal(silent=trainer.global_rank > 0)
    trainer.callbacks += [
        throughput,
        MetricsCSV(run.metrics),
        TrainingProgress(terminal, throughput),
        SamplerDistributionCallback(run.sampler_distribution, run.plots / "sampler_distribution.png", 1e9, terminal),
        DatasetStatisticsCallback(run.statistics, run.plots, terminal),
        TrainingHistoryCallback(run.plots / "history.png", run.metrics, run.timings),
        ModelInfoCallback(run.model_info, terminal),
        seen,
    ]
    trainer.fit(make_model(classes=2), datamodule=data)
    return {
        "seen": [[epoch, name, count] for (epoch, name), count in seen.counts.items()],
        "files": [path.relative_to(run.root).as_posix() for path in run.written_files()],
    }


def test_two_ranks_write_once_what_both_have_seen(program: WarmProgram, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"train/few": 4, "train/many": 30, "val/few": 2, "val/many": 2})

    first, second = run_ranks(program, fit, 2, tmp_path / "ranks", photos=str(photos))

    assert second["files"] == []
    assert {"data/sampler_distribution.csv", "data/statistics.json", "model_info.json"} <= set(first["files"])
    plots = ("history", "images_per_class", "image_sizes", "sampler_distribution")
    assert {f"plots/{name}.png" for name in plots} <= set(first["files"])
    seen: Counter[tuple[int, str]] = Counter()
    for rank in (first, second):
        seen.update({(epoch, name): count for epoch, name, count in rank["seen"]})
    run = RunFolder(tmp_path / "ranks" / "rank0")
    with run.sampler_distribution.open(newline="") as file:
        written = {(int(row["epoch"]), row["class"]): int(row["drawn"]) for row in csv.DictReader(file)}
    assert written == seen
    assert sum(written.values()) == 2 * 32
    assert json.loads(run.model_info.read_text())["latency"]["device"] == "cpu"
