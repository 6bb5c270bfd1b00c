from __future__ import annotations

import multiprocessing
from typing import Any

import pytest
import torch

from classifier_training.config.schema import TrainerConfig
from classifier_training.errors import ConfigError, RunError
from classifier_training.run.place import ALONE, Place
from classifier_training.training.devices import decide_place

LAUNCHERS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
             "TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "CUDA_VISIBLE_DEVICES")  # fmt: skip


@pytest.fixture(autouse=True)
def _two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.argv", ["script.py"])  # what runs tests may be a program without a file
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def decide(accelerator: str = "cuda", **settings: Any) -> tuple[Place, str | None]:
    return decide_place(TrainerConfig(**settings), accelerator)


def test_automatic_devices_are_decided() -> None:
    assert decide() == (Place("none", 2, address="127.0.0.1"), None)
    assert decide("cpu") == (ALONE, None)
    assert decide("mps") == (ALONE, None)
    assert decide("cpu", devices=3)[0].num_devices == 3


@pytest.mark.parametrize(
    ("accelerator", "num_devices", "message"),
    [
        ("cuda", 3, r"trainer\.devices=3: this machine has 2 cuda device\(s\); type trainer\.devices=2, or leave"),
        ("mps", 2, r"trainer\.devices=2: this machine has 1 mps device\(s\); type trainer\.devices=1"),
    ],
)
def test_more_devices_than_there_are_are_refused(accelerator: str, num_devices: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        decide(accelerator, devices=num_devices)


def test_devices_that_were_hidden_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ConfigError, match=r"2 cuda device\(s\) \(CUDA_VISIBLE_DEVICES=0,1\)"):
        decide(devices=4)


def test_a_task_that_sees_its_own_gpu_alone_is_told_how_to_see_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NTASKS": "4", "NTASKS_PER_NODE": "4", "PROCID": "0", "JOB_NAME": "train"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(ConfigError, match="with srun give --gpus-per-node"):
        decide(devices=4)


def test_fewer_processes_than_gpus_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    place, notice = decide()
    assert place == Place("other", 1)
    assert notice is not None
    assert "1 of the 2 GPUs" in notice


def test_an_interactive_prompt_gets_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    place, notice = decide()
    assert place == ALONE
    assert notice is not None
    assert notice.startswith("started from an interactive prompt: training uses one device instead of 2")
    assert decide(devices=1) == (ALONE, None)
    with pytest.raises(RunError, match=r"trainer\.num_nodes=2 cannot be started from an interactive prompt"):
        decide(num_nodes=2)


def test_a_multiprocessing_child_gets_one_device() -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs fork, for the number of GPUs")
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        place, notice = pool.apply(decide)
    assert place == ALONE
    assert notice is not None
    assert "a multiprocessing child" in notice
