"""`recipe=probe`: an ordinary run whose head is fitted at once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from tests.helpers.cli import LOOKED_AT, TINY, WarmProgram, wait_until

from classifier_training.files.tables import read_rows
from classifier_training.run.folder import RunFolder
from classifier_training.run.probe import ProbeRecord
from classifier_training.run.records import read_record


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Settings of a probe of weights that a file holds."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(timm.create_model("test_byobnet").state_dict(), file)
    return (*TINY, "recipe=probe", "data.test_fraction=0.3", f"model.weights={file}")


@pytest.fixture(scope="module")
def probed(
    program: WarmProgram, photos: Path, probe: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> RunFolder:
    folder = tmp_path_factory.mktemp("probe")
    finished = program("train", photos, *probe, *LOOKED_AT, "run.name=whole", folder=folder)
    assert finished.code == 0, finished
    assert "linear probe: logistic regression on features of" in finished.out
    assert "Traceback" not in finished.err
    return RunFolder(folder / "runs" / "whole")


def test_a_probe_is_an_ordinary_run(program: WarmProgram, probed: RunFolder) -> None:
    record = read_record(probed.probe, ProbeRecord)
    assert record.strength in {one.strength for one in record.curve}
    assert record.num_held_out == record.num_images
    header, row = read_rows(probed.metrics)
    assert float(dict(zip(header, row, strict=True))["train/loss"]) == pytest.approx(record.train_log_loss, rel=1e-4)
    results = json.loads(probed.results.read_text(encoding="utf-8"))
    assert results["reproduction"]["passed"]
    assert results["test"]["top1"] > 0.6  # the features of random weights tell colours apart
    for model in (probed.best_checkpoint, probed.onnx):
        assert program("evaluate", model, "--json").json["top1"] == results["test"]["top1"]
    assert probed.report.is_file()
    assert not probed.train_batch.exists()
    resumed = program("train", "--resume", probed.root)
    assert resumed.code == 0
    assert "is finished, there is nothing left to do" in resumed.out


def test_a_killed_probe_resumes_with_the_same_bits(
    program: WarmProgram, photos: Path, probe: tuple[str, ...], probed: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "runs" / "killed")
    cache = f"data.cache_dir={tmp_path / 'cache'}"
    with program.started("train", photos, *probe, cache, "run.name=killed", folder=tmp_path) as process:
        wait_until(process, run.probe.is_file)
        os.kill(process.pid, signal.SIGKILL)
        process.end()
    assert not run.results.exists()

    resumed = program("train", "--resume", run.root, folder=tmp_path)

    assert resumed.code == 0, resumed
    assert run.metrics.read_bytes() == probed.metrics.read_bytes()
    assert run.onnx.read_bytes() == probed.onnx.read_bytes()


def test_two_processes_get_the_head_of_the_first(
    program: WarmProgram, photos: Path, probe: tuple[str, ...], tmp_path: Path, probed: RunFolder
) -> None:
    with program.ranks("train", photos, *probe, "trainer.devices=2", "run.name=two", folder=tmp_path) as ranks:
        ended = [rank.end() for rank in ranks]
    assert [end.code for end in ended] == [0, 0], ended
    run = RunFolder(tmp_path / "runs" / "two")
    assert run.onnx.read_bytes() == probed.onnx.read_bytes()
    assert "on the cpu of the first process" in ended[0].out


def test_settings_that_would_do_nothing_are_all_named(
    program: WarmProgram, photos: Path, probe: tuple[str, ...], tmp_path: Path
) -> None:
    idle = ["trainer.max_epochs=5", "optimizer.lr=0.1", "data.mixup=0.2", "model.freeze_epochs=0", "data.hflip=0.1"]
    finished = program("train", photos, *probe, *idle, "ema.enabled=false", folder=tmp_path)
    assert finished.code == 2
    lines = finished.err.splitlines()
    assert len(lines) == len(idle)
    for one, line in zip(idle, lines, strict=True):
        assert line.removeprefix("error: ").startswith(f"{one} (command line): does nothing with recipe=probe")
    assert "(recipe.probe_views adds augmented views)" in lines[-1]
    assert not (tmp_path / "runs").exists()


def test_augmented_views_are_learned_from(
    program: WarmProgram, photos: Path, probe: tuple[str, ...], tmp_path: Path
) -> None:
    finished = program(
        "train", photos, *probe, "recipe.probe_views=1", "data.hflip=0.1", "run.name=views", folder=tmp_path
    )
    assert finished.code == 0, finished
    record = read_record(RunFolder(tmp_path / "runs" / "views").probe, ProbeRecord)
    assert (record.num_views, record.num_held_out) == (2, 2 * record.num_images)


def test_a_head_that_is_no_linear_layer_is_refused(
    program: WarmProgram, photos: Path, probe: tuple[str, ...], tmp_path: Path
) -> None:
    other = program("train", photos, *probe, "model.name=deit_tiny_distilled_patch16_224", folder=tmp_path)
    assert other.code == 2
    assert "the head of deit_tiny_distilled_patch16_224 is two heads; use recipe=finetune" in other.err
    assert not (tmp_path / "runs").exists()
