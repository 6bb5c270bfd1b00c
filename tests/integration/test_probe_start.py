"""Trainings that start from the probe and choose their final weights: whole, killed and resumed, on two devices."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.cli import TINY, Trained, WarmProgram

from classifier_training.models.checkpoint import read_checkpoint
from classifier_training.run.folder import RunFolder

WORDS = (
    *TINY,
    "data.test_fraction=0.3",
    "recipe.start_from_probe=true",
    "model.pretrained=auto",
    "checkpoint.choose_final=true",
    "checkpoint.monitor=val/loss",
    "trainer.max_epochs=2",
    "export.enabled=false",
)


def command(trained: Trained, name: str, *more: str) -> tuple[str, ...]:
    return ("train", "shapes", *WORDS, f"model.weights={trained.run.best_checkpoint}", f"run.name={name}", *more)


def results_of(run: RunFolder) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(run.results.read_text())
    return {key: value for key, value in values.items() if key != "seconds"}


@pytest.fixture(scope="module")
def whole(program: WarmProgram, trained: Trained) -> RunFolder:
    finished = program(*command(trained, "probe-start"))
    assert finished.code == 0, finished
    assert "epoch 0, the probe: val/loss" in finished.out
    assert "head fitted as a probe; all layers but those of the first 2 stages from the start" in " ".join(
        finished.out.split()
    )
    return RunFolder(program.folder / "runs" / "probe-start")


def test_the_run_is_never_worse_than_its_probe(whole: RunFolder) -> None:
    results, probe = results_of(whole), json.loads(whole.probe.read_text())
    candidates = {one["name"]: one for one in results["choice"]["candidates"]}
    assert candidates["probe"]["loss"] == pytest.approx(probe["val"]["log_loss"], rel=1e-4, abs=1e-6)
    assert candidates["probe"]["top1"] == probe["val"]["top1"]
    assert results["choice"]["chosen"] == min(candidates, key=lambda name: candidates[name]["loss"])
    assert results["reproduction"]["passed"]
    assert results["left_out"] == []


def test_the_head_is_the_probes_and_the_backbone_that_of_the_weights(whole: RunFolder, trained: Trained) -> None:
    probe, start = (
        read_checkpoint(path)["state_dict"] for path in (whole.probe_checkpoint, trained.run.best_checkpoint)
    )
    changed = {name for name, value in probe.items() if not np.array_equal(value, start[name])}
    assert changed == {"backbone.head.fc.weight", "backbone.head.fc.bias"}


@pytest.mark.parametrize("place", ["probe.json", "results.json"])
def test_a_killed_run_ends_the_same(place: str, program: WarmProgram, trained: Trained, whole: RunFolder) -> None:
    name = f"killed-at-{Path(place).stem}"
    killed = program.signalled(signal.SIGKILL, place, *command(trained, name))
    assert killed.code == -signal.SIGKILL, killed
    resumed = program("train", "--resume", f"runs/{name}")
    assert resumed.code == 0, resumed
    run = RunFolder(program.folder / "runs" / name)
    assert results_of(run) == results_of(whole)
    found, expected = (read_checkpoint(one.best_checkpoint)["state_dict"] for one in (run, whole))
    assert all(np.array_equal(value, expected[key]) for key, value in found.items())


def test_two_devices_start_from_the_same_probe(program: WarmProgram, trained: Trained, whole: RunFolder) -> None:
    words = command(trained, "two", "trainer.devices=2", "data.batch_size=4", "trainer.max_epochs=1")
    with program.ranks(*words, folder=program.folder) as ranks:
        ended = [rank.end() for rank in ranks]
    assert [end.code for end in ended] == [0, 0], ended
    run = RunFolder(program.folder / "runs" / "two")
    found, expected = (json.loads(one.probe.read_text()) for one in (run, whole))
    assert found["val"]["log_loss"] == pytest.approx(expected["val"]["log_loss"], rel=1e-4)
    results = results_of(run)
    assert results["reproduction"]["passed"]
    assert "probe" in {one["name"] for one in results["choice"]["candidates"]}


def test_a_probe_does_not_start_from_a_probe(program: WarmProgram) -> None:
    words = ("recipe.name=probe", "recipe.start_from_probe=true", "run.name=nothing")
    finished = program("train", "shapes", *words)
    assert finished.code == 2, finished
    assert "recipe=probe ends with the probe; recipe=finetune starts from it" in " ".join(finished.err.split())
    assert not (program.folder / "runs" / "nothing").exists()


def test_without_weights_the_head_starts_from_zero_and_that_is_said(program: WarmProgram) -> None:
    words = ("model.pretrained=false", "trainer.max_epochs=1", "run.name=no-weights")
    finished = program("train", "shapes", *WORDS, *words)
    assert finished.code == 0, finished
    said = " ".join(finished.out.split())
    assert "the head starts from zero instead, as there are no pretrained weights" in said
    assert not (program.folder / "runs" / "no-weights" / "probe.json").exists()
