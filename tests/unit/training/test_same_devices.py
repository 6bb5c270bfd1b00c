from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.training import make_config

from classifier_training.config.schema import Config
from classifier_training.errors import RunError
from classifier_training.run.folder import RunFolder
from classifier_training.training.same_devices import TrainedOn, check_devices, trained_on


@pytest.fixture(autouse=True)
def _a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["script.py"])  # what runs tests may be a program without a file
    for name in ("LOCAL_RANK", "RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


def configured(devices: int | str, batch_size: int, **trainer: Any) -> Config:
    settings = {"accelerator": "cpu", "devices": devices, **trainer}
    return make_config(trainer=settings, data={"batch_size": batch_size})


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (TrainedOn(2, 32), configured(2, 32)),
        (TrainedOn(2, 32), configured(1, 64)),
        (TrainedOn(1, 64), configured(4, 16)),
        (TrainedOn(4, 8), configured(2, 8, num_nodes=2)),
        (TrainedOn(1, 32), configured("auto", 32)),
        (TrainedOn(1, 32), configured(1, 8, accumulate_grad_batches=4)),
        (TrainedOn(1, 8, 4), configured(2, 16)),
    ],
)
def test_any_devices_that_take_as_many_images_a_step(before: TrainedOn, now: Config) -> None:
    check_devices(RunFolder(Path("runs/a")), before, now)


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        (
            TrainedOn(2, 32),
            configured(1, 32),
            (
                "runs/a was trained on 2 device(s) with data.batch_size=32, the settings now say 1: images would be"
                " sampled twice or not at all; type: classifier-training train --resume runs/a trainer.devices=1"
                " data.batch_size=64"
                " (the same 64 images in each step), or resume it on 2 device(s), or start a new run"
            ),
        ),
        (
            TrainedOn(1, 32),
            configured(2, 32),
            (
                "the settings now say 2: images would be sampled twice or not at all; type: classifier-training train"
                " --resume runs/a trainer.devices=2 data.batch_size=16"
            ),
        ),
        (TrainedOn(1, 31), configured(2, 31), "not at all; resume it on 1 device(s), or start a new run"),
        (TrainedOn(2, 32), configured("auto", 32), "this machine has 1: images"),
        (TrainedOn(2, 32), configured(1, 16), "the settings now say 1 with data.batch_size=16: images"),
        (
            TrainedOn(1, 32),
            configured(1, 32, accumulate_grad_batches=2),
            (
                "with data.batch_size=32 trainer.accumulate_grad_batches=1, the settings now say 1 with"
                " trainer.accumulate_grad_batches=2: images would be sampled twice or not at all; type:"
                " classifier-training train --resume runs/a trainer.devices=1 data.batch_size=16"
            ),
        ),
    ],
)
def test_other_devices_are_refused_with_the_words_to_type(before: TrainedOn, now: Config, message: str) -> None:
    with pytest.raises(RunError) as raised:
        check_devices(RunFolder(Path("runs/a")), before, now)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_fewer_gpus_than_the_run_had_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    settings = configured(2, 32, accelerator="cuda")
    with pytest.raises(RunError, match=r"this machine has 1: .* trainer\.devices=1 data\.batch_size=64"):
        check_devices(RunFolder(Path("runs/a")), TrainedOn(2, 32), settings)


def test_a_notebook_does_not_resume_on_one_device_what_had_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    with pytest.raises(RunError, match="started from an interactive prompt it has 1"):
        check_devices(RunFolder(Path("runs/a")), TrainedOn(2, 32), configured(2, 32))


def test_what_a_run_was_trained_on(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    position = {"epoch": 1, "batch": 0}
    assert trained_on(run, configured(2, 8), {**position, "world_size": 4, "batch_size": 16}) == TrainedOn(4, 16)
    # of versions that did not write it
    assert trained_on(run, configured(2, 8, num_nodes=3), position) == TrainedOn(6, 8)
    assert trained_on(run, configured("auto", 8), position) == TrainedOn(1, 8)
    run.environment.write_text(json.dumps({"gpus": ["T4", "T4"]}))
    assert trained_on(run, configured("auto", 8, accelerator="auto"), position) == TrainedOn(2, 8)
    assert trained_on(run, configured("auto", 8), position) == TrainedOn(1, 8)
