"""A run that is killed again and again ends with the very files of the one that was left alone."""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
from tests.helpers.cli import LOOKED_AT, TINY, WarmProgram, make_shapes

from classifier_training.run.folder import RunFolder

# everything that a resume could get wrong: loader processes, draws, dropout, gradients in the making, a schedule, a
# frozen backbone, a patience that runs out, an average of the weights
SETTINGS = (
    *TINY,
    *LOOKED_AT,
    "run.name=bits",
    "data.batch_size=2",
    "data.num_workers=2",
    "data.balance=sampler",
    "model.drop_rate=0.3",
    "model.freeze_epochs=1",
    "trainer.max_epochs=6",
    "trainer.accumulate_grad_batches=2",
    "trainer.early_stopping_patience=5",
    "checkpoint.every_n_steps=2",
    "checkpoint.keep_last=3",
)
NUM_KILLS = 7
SAME_FILES = (
    "config.yaml",
    "data/split.csv",
    "metrics.csv",
    "checkpoints/best.ckpt",
    "checkpoints/last.ckpt",
    "export/model.onnx",
    "export/labels_mapping.json",
)


@pytest.fixture(scope="module")
def words(program: WarmProgram, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return ("train", str(make_shapes(tmp_path_factory.mktemp("often") / "shapes")), *SETTINGS)


@pytest.fixture(scope="module")
def whole(program: WarmProgram, words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("whole")
    finished = program(*words, folder=folder)
    assert finished.code == 0, finished
    return RunFolder(folder / "runs" / "bits")


def test_a_run_killed_again_and_again_ends_with_the_same_bits(
    program: WarmProgram, words: tuple[str, ...], whole: RunFolder, tmp_path: Path
) -> None:
    """Killed at files that it opens, renames and removes: before, in the midst of and after each of its writes."""
    run = RunFolder(tmp_path / "runs" / "bits")
    moments = random.Random(0)
    places = [("/bits/", moments.randint(120, 190)) for _ in range(NUM_KILLS - 3)]
    # and once each when an epoch's scores are written, and the final ones, and the export
    places += [("metrics.csv", 3), ("results.json", moments.randint(1, 4)), ("model.onnx", moments.randint(1, 3))]
    messages = []
    for number, (place, nth) in enumerate(places):
        arguments = words if number == 0 else ("train", "--resume", "runs/bits")
        killed = program.signalled(signal.SIGKILL, place, *arguments, nth=nth, folder=tmp_path)
        assert killed.code == -signal.SIGKILL, killed
        messages.append([line for line in killed.out.splitlines() if line.startswith(("resuming", "all "))])
    assert not run.onnx.exists()

    finished = program("train", "--resume", "runs/bits", folder=tmp_path)

    assert finished.code == 0, finished
    assert "warning" not in finished.out
    assert len({str(line) for line in messages}) >= NUM_KILLS - 3, (
        f"it was killed at the same point again and again: {messages}"
    )
    different = [name for name in SAME_FILES if (run.root / name).read_bytes() != (whole.root / name).read_bytes()]
    assert not different
    assert not list(run.root.rglob(".*"))
    results, expected = (json.loads(one.results.read_text()) for one in (run, whole))
    assert results | {"seconds": 0} == expected | {"seconds": 0}
    assert len(list(run.checkpoints.iterdir())) == 4, "the best, and three of the last"
    content = torch.load(run.last_checkpoint, weights_only=True)
    assert content["epoch"] == 5
    assert not torch.equal(*(next(iter(content[key].values())) for key in ("state_dict", "training_state_dict")))


def test_the_same_run_on_other_loader_processes_has_the_same_metrics(
    program: WarmProgram, words: tuple[str, ...], whole: RunFolder, tmp_path: Path
) -> None:
    """A setting that changes no result may change between two kills."""
    for number, workers in enumerate((1, 0, 2)):
        arguments = words if number == 0 else ("train", "--resume", "runs/bits")
        killed = program.signalled(
            signal.SIGKILL, "/last.ckpt", *arguments, f"data.num_workers={workers}", nth=7, folder=tmp_path
        )
        assert killed.code == -signal.SIGKILL, killed

    finished = program("train", "--resume", "runs/bits", "data.num_workers=0", folder=tmp_path)

    assert finished.code == 0, finished
    run = RunFolder(tmp_path / "runs" / "bits")
    assert run.metrics.read_bytes() == whole.metrics.read_bytes()
    assert run.onnx.read_bytes() == whole.onnx.read_bytes()
    shutil.rmtree(tmp_path)
