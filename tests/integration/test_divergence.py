"""Runs that diverge, models that answer NaN, and the guard at the end of every run, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tests.helpers.cli import TINY, Trained, WarmProgram
from tests.helpers.ranks import gloo, run_ranks
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer

from classifier_training.callbacks.loss_watch import LossWatch
from classifier_training.errors import DivergedError
from classifier_training.run.folder import RunFolder

pytestmark = LIGHTNING_NOTICES


class Poison(lightning.Callback):
    """Makes the images of a step NaN."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2:
            batch["images"].mul_(torch.nan)


def diverge_on_one_rank(folder: Path, world_size: int) -> Any:
    """Where each rank ended, when the second one had a loss that is not a number."""
    trainer = make_trainer(folder, LossWatch(seconds=0), strategy=gloo(broadcast_buffers=False), devices=world_size)
    poison = [Poison()] if trainer.global_rank else []
    trainer.callbacks.extend(poison)  # type: ignore[attr-defined]  # Lightning's list
    try:
        trainer.fit(make_model(), make_loader(200, 4), make_loader(2, 4))
    except DivergedError as error:
        return [trainer.global_step, "the loss is" in str(error)]
    return None


def test_all_processes_end_at_the_same_step(program: WarmProgram, tmp_path: Path) -> None:
    first, second = run_ranks(program, diverge_on_one_rank, 2, tmp_path / "ranks")
    assert first == second
    assert first[1]
    assert first[0] < 100


def test_a_run_that_diverges_at_once_says_so_and_leaves_no_checkpoint(program: WarmProgram, photos: Path) -> None:
    words = ("optimizer.name=sgd", "optimizer.lr=1e30", "trainer.gradient_clip_val=null", "scheduler.warmup_epochs=0")

    finished = program("train", photos.name, *TINY, *words, "trainer.max_epochs=3", "run.name=diverged")

    assert finished.code == 1
    (line,) = finished.err.strip().splitlines()
    assert line.startswith("error: training diverged in epoch 1, step ")
    assert "lower optimizer.lr (now 1e+30)" in line
    assert line.endswith("no checkpoint was written")
    assert not list((program.folder / "runs" / "diverged").rglob("*.ckpt"))


@pytest.fixture(scope="module")
def broken(program: WarmProgram, trained: Trained) -> RunFolder:
    """A run whose best and last checkpoint, and whose export, have a weight that is not a number."""
    run = RunFolder(program.folder / "runs" / "broken")
    shutil.copytree(trained.run.root, run.root)
    for path in (run.best_checkpoint, run.last_checkpoint):
        content = torch.load(path, weights_only=True)
        name = next(name for name in content["state_dict"] if name.endswith("weight"))
        content["state_dict"][name] *= torch.nan
        torch.save(content, path)
    model = onnx.load(run.onnx)
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(weights), np.nan), weights.name))
    onnx.save(model, run.onnx)
    return run


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("evaluate", "{run}", "--min", "top1=0.1"), "best.ckpt holds weights that are not finite numbers"),
        (("evaluate", "{run}/export/model.onnx", "--min", "top1=0.1"), "logits that are not finite numbers"),
        (("evaluate", "runs/first", "--not-worse-than", "{run}/export/model.onnx"), "logits that are not finite"),
        (("export", "{run}", "--overwrite"), "best.ckpt holds weights that are not finite numbers"),
        (("predict", "{run}", "{photos}", "--output", "{run}/predicted.csv"), "logits that are not finite numbers"),
        (("train", "{photos}", "model.name=test_byobnet", "model.weights={run}/checkpoints/best.ckpt"), "not finite"),
    ],
)
def test_a_model_that_answers_nan_is_refused(
    program: WarmProgram, broken: RunFolder, photos: Path, words: tuple[str, ...], says: str
) -> None:
    before = sorted(path for path in broken.root.rglob("*") if "evaluations" not in path.parts)

    finished = program(*(word.format(run=broken.root, photos=photos.name) for word in words))

    assert finished.code == 2, finished
    errors = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert says in errors[0]
    assert sorted(path for path in broken.root.rglob("*") if "evaluations" not in path.parts) == before


def test_a_run_with_broken_weights_resumes_from_those_before(
    program: WarmProgram, broken: RunFolder, trained: Trained
) -> None:
    run = RunFolder(program.folder / "runs" / "resumed")
    shutil.copytree(broken.root, run.root)
    shutil.copy(trained.run.best_checkpoint, run.best_checkpoint)
    assert (run.checkpoints / "last-1.ckpt").is_file()

    finished = program("train", "--resume", str(run.root), "export.enabled=false")

    assert f"{run.last_checkpoint} holds numbers that are not finite" in finished.err + finished.out
    assert "resuming from last-1.ckpt" in finished.err + finished.out
    assert finished.code == 0, finished


@pytest.fixture(scope="module")
def half(program: WarmProgram, photos: Path) -> RunFolder:
    """A run in bfloat16 that is as good as finished."""
    words = ("data.test_fraction=0.3", "trainer.precision=bf16-mixed", "trainer.max_epochs=2", "report.enabled=true")
    finished = program("train", photos.name, *TINY, *words, "run.name=half")
    assert finished.code == 0, finished
    assert "in float32" in finished.out
    return RunFolder(program.folder / "runs" / "half")


def test_final_scores_are_in_float32_whatever_the_training_computed_in(program: WarmProgram, half: RunFolder) -> None:
    results = json.loads(half.results.read_text())
    validated = json.loads(half.scored("val").scores.read_text())
    tested = json.loads(half.scored("test").scores.read_text())

    finished = [program("evaluate", str(file), "--json") for file in (half.root, half.onnx)]

    assert (results["test"]["precision"], tested["precision"], validated["precision"]) == (
        "float32", "float32", "bf16-mixed"
    )  # fmt: skip
    for end in finished:
        assert json.loads(end.out)["confusion"] == results["test"]["confusion"]
    assert "in float32, as the exported file answers" in half.report.read_text()


def test_the_best_checkpoint_reproduces_the_monitored_number_in_the_precision_of_the_training(half: RunFolder) -> None:
    results = json.loads(half.results.read_text())
    found = results["reproduction"]
    assert found["monitored"] == found["measured"] == results["best"]["val/top1"]
    assert (found["monitor"], found["precision"], found["tolerance"], found["passed"]) == (
        "val/top1", "bf16-mixed", 0.0, True
    )  # fmt: skip


def test_weights_that_do_not_reproduce_it_are_reported(program: WarmProgram, half: RunFolder) -> None:
    other = RunFolder(program.folder / "runs" / "exchanged")
    shutil.copytree(half.root, other.root)
    content = torch.load(other.best_checkpoint, weights_only=True)
    head = [name for name in content["state_dict"] if name.endswith("weight")][-1]
    content["state_dict"][head] = -content["state_dict"][head]
    torch.save(content, other.best_checkpoint)
    other.results.unlink()

    finished = program("train", "--resume", str(other.root))

    assert finished.code == 0, finished
    assert "best.ckpt does not reproduce the score for which it was kept: val/top1 was" in finished.out + finished.err
    found = json.loads(other.results.read_text())["reproduction"]
    assert not found["passed"]
    assert found["monitored"] != found["measured"]
    assert "best.ckpt does not reproduce its score" in other.report.read_text()
