"""A training whose batches are too large for the memory starts over with smaller ones, and the same steps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.helpers.cli import TINY, Finished, WarmProgram
from tests.helpers.training import assert_same_run

from classifier_training.config import load_config
from classifier_training.pages.write import report
from classifier_training.run.events import Events
from classifier_training.run.folder import RunFolder
from classifier_training.run.records import read_record

BACKBONE = """
import os

import timm
import torch
from timm.models import register_model

passes = 0


class Fails(timm.models.ByobNet):
    def forward(self, images):
        global passes
        passes += self.training
        others = os.environ.get("LOCAL_RANK", "0") not in os.environ.get("RANKS", "0")
        if self.training and passes > int(os.environ["AFTER"]) and len(images) > int(os.environ["MOST"]) and not others:
            message = os.environ["MESSAGE"]
            raise torch.OutOfMemoryError(message) if "memory" in message else ValueError(message)
        return super().forward(images)


@register_model
def fails(pretrained=False, **options):
    backbone = timm.create_model("test_byobnet", **options)
    backbone.__class__ = Fails
    return backbone
"""
SCRIPT = """
import sys

sys.path.insert(0, {folder!r})
import fails
from classifier_training.cli import main

main(sys.argv[1:])
"""
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB"
SETTINGS = (*TINY, "model.name=fails", "trainer.max_epochs=2", "export.enabled=false")
SMALLER = ("data.batch_size=4", "trainer.accumulate_grad_batches=2")


class Trainer:
    """Trains with a backbone that fails in batches that are too large."""

    def __init__(self, program: WarmProgram, photos: Path, folder: Path) -> None:
        self.program, self.photos, self.folder = program, photos, folder
        (folder / "fails.py").write_text(BACKBONE)

    def __call__(
        self, *words: str | Path, most: int = 99, after: int = 0, message: str = OUT_OF_MEMORY, ranks: str = "01"
    ) -> Finished:
        """One command; batches of more than ``most`` images fail after so many passes in training."""
        environment = {"MOST": str(most), "AFTER": str(after), "MESSAGE": message, "RANKS": ranks}
        return self.program.python(self.script, *words, folder=self.folder, environment=environment)

    @property
    def script(self) -> str:
        """Runs a command with that backbone."""
        return SCRIPT.format(folder=str(self.folder))

    def new(self, name: str, *settings: str, **fault: object) -> tuple[Finished, RunFolder]:
        """A new run."""
        words = ("train", self.photos, *SETTINGS, f"run.name={name}", *settings)
        return self(*words, **fault), RunFolder(self.folder / "runs" / name)  # type: ignore[arg-type]  # of __call__


@pytest.fixture
def trainer(program: WarmProgram, photos: Path, tmp_path: Path) -> Trainer:
    return Trainer(program, photos, tmp_path)


def warnings_of(lines: str) -> list[str]:
    return [line for line in lines.splitlines() if line.startswith("warning: ")]


def batches_of(run: RunFolder) -> tuple[int, int]:
    config = load_config(file=run.config)
    return config.data.images_per_batch, config.trainer.accumulate_grad_batches


def assert_no_leftovers(run: RunFolder) -> None:
    assert not [path for path in run.root.rglob("*") if ".tmp" in path.name]


def assert_started_over(finished: Finished, run: RunFolder, first: str) -> None:
    assert finished.code == 0, finished
    assert "Traceback" not in finished.err
    (line,) = warnings_of(finished.out + finished.err)
    assert line == (
        f"warning: {first}: starting over with data.batch_size=4 trainer.accumulate_grad_batches=2, the same 8 images"
        " in each step; BatchNorm takes its statistics from the smaller batches"
    )
    assert batches_of(run) == (4, 2)
    assert line.removeprefix("warning: ") in [one.text for one in read_record(run.events, Events).events]
    assert "starting over with data.batch_size=4" in report(run.root).read_text(encoding="utf-8")
    assert_no_leftovers(run)


def test_from_the_beginning_it_is_the_run_that_had_these_batches_at_once(trainer: Trainer) -> None:
    finished, run = trainer.new("halved", most=4)
    _, expected = trainer.new("expected", *SMALLER)

    assert_started_over(finished, run, "out of memory while training (it tried to allocate 2.00 GiB)")
    assert "no checkpoint yet: starting from the beginning" in finished.out
    assert_same_run(run.checkpoints, expected.checkpoints, names=("best.ckpt", "last.ckpt"))
    assert run.metrics.read_bytes() == expected.metrics.read_bytes()
    again = trainer("train", "--resume", run.root, most=4)
    assert "is finished, there is nothing left to do" in again.out, again


def test_within_an_epoch_it_is_the_run_that_is_resumed_with_these_batches(trainer: Trainer) -> None:
    saved = "checkpoint.every_n_steps=1"
    finished, run = trainer.new("halved", saved, most=4, after=6)
    crashed, expected = trainer.new("expected", saved, most=4, after=6, message="something else")
    assert crashed.code == 1, crashed
    resumed = trainer("train", "--resume", expected.root, *SMALLER)
    assert resumed.code == 0, resumed

    assert_started_over(finished, run, "out of memory while training (it tried to allocate 2.00 GiB)")
    assert "resuming at epoch 2, batch 3" in finished.out.splitlines(), finished
    assert_same_run(run.checkpoints, expected.checkpoints, names=("best.ckpt", "last.ckpt"))
    assert run.metrics.read_bytes() == expected.metrics.read_bytes()


def test_all_processes_start_over_where_one_of_them_has_too_little_memory(trainer: Trainer) -> None:
    words = ("train", trainer.photos, *SETTINGS, "run.name=halved", "trainer.devices=2", "trainer.max_epochs=1")
    fault = {"MOST": "4", "AFTER": "0", "MESSAGE": OUT_OF_MEMORY, "RANKS": "1"}
    folder = trainer.folder
    with trainer.program.ranks(*words, folder=folder, script=trainer.script, environment=fault) as ranks:
        ended = [rank.end() for rank in ranks]
    run = RunFolder(folder / "runs" / "halved")

    assert [end.code for end in ended] == [0, 0], ended
    (line,) = warnings_of("".join(end.out for end in ended))
    assert "data.batch_size=4 trainer.accumulate_grad_batches=2, the same 16 images in each step" in line
    assert batches_of(run) == (4, 2)
    assert run.results.is_file()


def test_all_processes_start_over_where_memory_runs_out_in_one_of_them_within_an_epoch(trainer: Trainer) -> None:
    """The first one waits for the gradients of the other then; both have learned the batch size of the first one."""
    settings = ("checkpoint.every_n_steps=1", "trainer.devices=2", "data.batch_size=auto")
    finished, run = trainer.new("halved", *settings, most=4, after=4, ranks="1")

    assert finished.code == 0, finished
    assert "Traceback" not in finished.err
    assert "8 images: with more than 8, an epoch would have fewer than 20 steps" in " ".join(finished.out.split())
    (line,) = warnings_of(finished.out + finished.err)
    assert line.startswith(
        "warning: out of memory while training (it tried to allocate 2.00 GiB) in process 1 of 2, from 0: starting over"
        " with data.batch_size=4 trainer.accumulate_grad_batches=2, the same 16 images in each step"
    )
    assert re.search(r"^resuming at epoch \d", finished.out, re.MULTILINE), finished.out
    assert batches_of(run) == (4, 2)
    assert run.results.is_file()
    assert_no_leftovers(run)


def test_where_no_batch_fits_the_error_says_so_and_the_settings_stay(trainer: Trainer) -> None:
    finished, run = trainer.new("none", "model.freeze_norm_stats=true", most=0)

    assert finished.code == 2, finished
    (error,) = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert re.search(r"out of memory while training \(.*\); lower data\.image_size \(now 32\) or choose", error), error
    assert "Traceback" not in finished.err
    assert batches_of(run) == (8, 1)
    assert_no_leftovers(run)
