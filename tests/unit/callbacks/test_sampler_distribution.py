from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from tests.helpers.photos import make_photos
from tests.helpers.training import (
    IMAGE_SIZE,
    LIGHTNING_NOTICES,
    ColouredNoise,
    KillAfter,
    KilledError,
    make_loader,
    make_trainer,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader

from classifier_training.callbacks.checkpoint import AtomicCheckpointIO, RunCheckpoint
from classifier_training.callbacks.sampler_distribution import SamplerDistributionCallback
from classifier_training.data import ImageFolderDataModule, TrackingWeightedRandomSampler
from classifier_training.errors import ConfigError
from classifier_training.figures.rendering import PlottingBudget
from classifier_training.terminal.terminal import Terminal

pytestmark = LIGHTNING_NOTICES

FEW, MANY = "$few$ <b>", "many"
REPEATED = pytest.mark.filterwarnings("ignore:epoch . sampled each image")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two to train on of one class, and 24 of the other."""
    counts = {f"train/{FEW}": 2, f"train/{MANY}": 24, f"val/{FEW}": 1, f"val/{MANY}": 1}
    return make_photos(tmp_path_factory.mktemp("photos"), counts)


class Tiny(lightning.LightningModule):
    """Learns next to nothing, quickly: only what it is given is of interest.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.head(batch["images"].mean((2, 3))), batch["labels"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.log("val/top1", torch.tensor(0.5), batch_size=len(batch["labels"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Seen(lightning.Callback):
    """Counts the classes that are trained on, by epoch."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[int, int]] = Counter()

    def on_train_batch_end(self, trainer: lightning.Trainer, model: Any, outputs: Any, batch: Any, index: int) -> None:
        self.counts.update((trainer.current_epoch, int(label)) for label in batch["labels"])


def fit(folder: Path, photos: Path, *callbacks: lightning.Callback, **options: Any) -> SamplerDistributionCallback:
    """Three epochs of six batches; goes on where ``folder`` has a ``last.ckpt``."""
    balance, workers = options.pop("balance", "sampler"), options.pop("num_workers", 0)
    data = ImageFolderDataModule(
        photos, batch_size=4, image_size=IMAGE_SIZE, num_workers=workers, seed=3, balance=balance
    )
    mine = [callback for callback in callbacks if isinstance(callback, SamplerDistributionCallback)]
    callback = mine[0] if mine else SamplerDistributionCallback(folder / "drawn.csv")
    others = [other for other in callbacks if other is not callback]
    settings: dict[str, Any] = {"max_epochs": 3, "enable_checkpointing": True, "use_distributed_sampler": False}
    checkpoint = RunCheckpoint(folder, every_n_steps=1)
    plugins = [AtomicCheckpointIO()]
    trainer = make_trainer(folder, callback, *others, checkpoint, plugins=plugins, **settings | options)
    last = folder / "last.ckpt"
    trainer.fit(Tiny(), datamodule=data, ckpt_path=last if last.is_file() else None, weights_only=True)
    return callback


def rows(folder: Path) -> list[tuple[int, str, int, int]]:
    with (folder / "drawn.csv").open(encoding="utf-8", newline="") as file:
        return [
            (int(row["epoch"]), row["class"], int(row["images"]), int(row["drawn"])) for row in csv.DictReader(file)
        ]


def drawn(folder: Path) -> Counter[tuple[int, int]]:
    """As `Seen` counts it."""
    return Counter({(epoch, [FEW, MANY].index(name)): count for epoch, name, _, count in rows(folder)})


@REPEATED
@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_file_holds_what_the_model_has_seen(tmp_path: Path, photos: Path, num_workers: int) -> None:
    seen = Seen()
    fit(tmp_path, photos, seen, num_workers=num_workers)

    assert drawn(tmp_path) == seen.counts
    assert sum(seen.counts.values()) == 3 * 24
    assert [row[:3] for row in rows(tmp_path)] == [
        (epoch, name, images) for epoch in range(3) for name, images in ((FEW, 2), (MANY, 24))
    ]


@REPEATED
def test_a_run_that_is_resumed_in_the_midst_of_an_epoch_and_after_one_tells_the_same(
    tmp_path: Path, photos: Path
) -> None:
    fit(tmp_path / "whole", photos)
    seen = Seen()
    for num_batches in (3, 3, 8):  # each after the one before
        with pytest.raises(KilledError):
            fit(tmp_path / "killed", photos, seen, KillAfter(num_batches))
    fit(tmp_path / "killed", photos, seen)

    assert (tmp_path / "killed" / "drawn.csv").read_bytes() == (tmp_path / "whole" / "drawn.csv").read_bytes()
    assert drawn(tmp_path / "killed") == seen.counts


@REPEATED
def test_what_is_only_partly_trained_counts_as_that(tmp_path: Path, photos: Path) -> None:
    seen = Seen()
    fit(tmp_path, photos, seen, limit_train_batches=2, max_epochs=2)
    assert drawn(tmp_path) == seen.counts
    assert sum(count for *_, count in rows(tmp_path)) == 16


class TestWarnings:
    def test_of_classes_that_repeat_too_often_once_a_run(self, tmp_path: Path, photos: Path) -> None:
        callback = SamplerDistributionCallback(tmp_path / "drawn.csv", max_repeats=2.0)
        with pytest.warns(UserWarning, match="sampled each image") as caught, pytest.raises(KilledError):
            fit(tmp_path, photos, callback, KillAfter(7))
        (message,) = [str(warning.message) for warning in caught if " sampled " in str(warning.message)]
        few = next(count for _, name, _, count in rows(tmp_path) if name == FEW)
        assert message.startswith(
            f"epoch 1 sampled each image of {FEW!r} {few / 2:.1f} times, more than report.max_repeats=2"
        )
        assert "\n" not in message

        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".* sampled ")
            fit(tmp_path, photos, SamplerDistributionCallback(tmp_path / "drawn.csv", max_repeats=2.0))

    def test_of_classes_that_were_never_sampled_in_one_line(self, tmp_path: Path) -> None:
        names = [f"class {number:02}" for number in range(12)]
        root = make_photos(tmp_path / "photos", {f"train/{name}": 1 for name in names} | {"val/class 00": 1})
        data = ImageFolderDataModule(root, batch_size=4, image_size=IMAGE_SIZE, num_workers=0)
        callback = SamplerDistributionCallback(tmp_path / "drawn.csv")
        trainer = make_trainer(tmp_path, callback, limit_train_batches=1, max_epochs=3)
        with pytest.warns(UserWarning, match="sampled no image") as caught:
            trainer.fit(Tiny(12), datamodule=data)

        messages = [str(warning.message) for warning in caught if " sampled " in str(warning.message)]
        assert re.fullmatch(r"epoch 1 sampled no image of ('class ..', ){2}'class ..' and 5 more classes", messages[0])
        assert callback.state_dict()["warned"]["often"] == []
        assert len(callback.state_dict()["warned"]["never"]) == len(set(callback.state_dict()["warned"]["never"]))

    def test_none_where_nothing_is_wrong(self, tmp_path: Path, photos: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".* sampled ")
            fit(tmp_path, photos, SamplerDistributionCallback(tmp_path / "drawn.csv", max_repeats=100.0), max_epochs=1)

    @pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
    def test_of_a_limit_that_is_none(self, tmp_path: Path, value: float) -> None:
        with pytest.raises(ConfigError, match="max_repeats="):
            SamplerDistributionCallback(tmp_path, max_repeats=value)


class TestTheTerminal:
    @REPEATED
    def test_it_shows_the_first_epoch_as_a_table(
        self, tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fit(tmp_path, photos, SamplerDistributionCallback(tmp_path / "drawn.csv", terminal=Terminal()))

        out = capsys.readouterr().out
        assert out.count("sampled in epoch 1") == 1
        for _, name, images, count in rows(tmp_path)[:2]:
            assert re.search(rf"{re.escape(name)} +│ +{images} │ +{count} │ +{count / images:.2f} ", out)
        assert re.search(r"all +│ +26 │ +24 │ +0.92 ", out)

    def test_plain_shuffling_takes_one_line(
        self, tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        callback = SamplerDistributionCallback(tmp_path / "drawn.csv", terminal=Terminal())
        fit(tmp_path, photos, callback, balance="none")
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "epoch 1 sampled" in line]
        assert line.startswith("epoch 1 sampled 24 of 26 training images, each once")

    @REPEATED
    def test_of_many_classes_it_shows_the_extremes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        callback = SamplerDistributionCallback(tmp_path / "drawn.csv", tmp_path / "drawn.png", terminal=Terminal())
        dataset = ColouredNoise(1200, 1000)
        sampler = TrackingWeightedRandomSampler(np.arange(1.0, 1201), 600, generator=torch.Generator())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # many are never drawn
            trainer = make_trainer(tmp_path, callback)
            trainer.fit(Tiny(1000), DataLoader(dataset, 60, sampler=sampler), make_loader(1))
        out = capsys.readouterr().out
        assert "… 980 more" in out
        assert out.count("│\n") == 22


class TestAnotherTrainer:
    """Where the batches come from a plain loader with our sampler."""

    def fit(self, folder: Path, loader: DataLoader[Any], **options: Any) -> tuple[Path, Seen]:
        seen = Seen()
        callback = SamplerDistributionCallback(folder / "drawn.csv", max_repeats=1e9)
        trainer = make_trainer(folder, callback, seen, max_epochs=2, **options)
        trainer.fit(Tiny(4), loader, make_loader(1))
        return folder / "drawn.csv", seen

    @pytest.mark.filterwarnings("ignore:epoch . sampled no image")  # in two batches there may be none
    @pytest.mark.parametrize("options", [{}, {"limit_train_batches": 2}])
    def test_its_samples_are_known_by_the_labels(self, tmp_path: Path, options: dict[str, Any]) -> None:
        sampler = TrackingWeightedRandomSampler([1.0, 2.0, 3.0, 4.0] * 5, 30, generator=torch.Generator())
        _, seen = self.fit(tmp_path, DataLoader(ColouredNoise(20), 8, sampler=sampler), **options)
        counted = Counter({(epoch, int(name)): count for epoch, name, _, count in rows(tmp_path)})
        assert counted == seen.counts
        assert {images for _, _, images, _ in rows(tmp_path)} == {5}

    def test_labels_that_are_no_classes_cost_no_training(self, tmp_path: Path) -> None:
        data = ColouredNoise(20)
        vars(data)["targets"] = ["cat"] * 20
        sampler = TrackingWeightedRandomSampler([1.0] * 20, 20, generator=torch.Generator())
        with pytest.warns(UserWarning, match=r"drawn\.csv could not be made"):
            path, _ = self.fit(tmp_path, DataLoader(data, 8, sampler=sampler))
        assert not path.exists()

    def test_of_another_sampler_nothing_is_known(self, tmp_path: Path) -> None:
        path, _ = self.fit(tmp_path, DataLoader(ColouredNoise(20), 8))
        assert not path.exists()


@REPEATED
def test_it_plots_at_the_end_what_there_was_no_time_for(tmp_path: Path, photos: Path) -> None:
    budget = PlottingBudget()
    budget.spent = 1e9
    callback = SamplerDistributionCallback(tmp_path / "drawn.csv", tmp_path / "drawn.png", budget=budget)
    with pytest.raises(KilledError):
        fit(tmp_path, photos, callback, KillAfter(5))
    assert not (tmp_path / "drawn.png").exists(), "no epoch is done"
    fit(tmp_path, photos, callback)
    assert (tmp_path / "drawn.png").is_file()


@REPEATED
def test_the_figure_is_there_after_a_training_that_was_stopped(tmp_path: Path, photos: Path) -> None:
    budget = PlottingBudget()
    budget.spent = 1e9
    callback = SamplerDistributionCallback(tmp_path / "drawn.csv", tmp_path / "drawn.png", budget=budget)
    with pytest.raises(KilledError):
        fit(tmp_path, photos, callback, KillAfter(8))
    assert (tmp_path / "drawn.png").is_file()
