"""On how many devices a training runs, and which of its processes this one is."""

from __future__ import annotations

import os

import torch

from classifier_training.config.schema import TrainerConfig
from classifier_training.errors import ConfigError, RunError
from classifier_training.run.place import ALONE, Place, find_launcher, find_place, launched_devices
from classifier_training.run.surroundings import one_device_reason


def decide_place(trainer: TrainerConfig, accelerator: str) -> tuple[Place, str | None]:
    """Decides ``trainer.devices``, and finds this process among those of the training.

    Args:
        trainer: The settings.
        accelerator: ``cpu``, ``cuda`` or ``mps``.

    Returns:
        The place, and what the user has to know of it; None: nothing.

    Raises:
        ConfigError: There are fewer devices, or the launcher has started another number of processes.
        RunError: What a launcher has set is missing or contradicts itself.
    """
    there = num_present(accelerator)
    is_launched = find_launcher(os.environ) != "none"
    reason = None if is_launched else one_device_reason()
    wanted = trainer.devices if isinstance(trainer.devices, int) else there or 1
    if reason is not None and trainer.num_nodes > 1:
        raise RunError(
            f"trainer.num_nodes={trainer.num_nodes} cannot be started from {reason}: write a script, or type"
            " classifier-training train"
        )
    if reason is not None and wanted > 1:
        instead = (
            f"started from {reason}: training uses one device instead of {wanted}; a script in a file and the command"
            " classifier-training train use all of them"
        )
        return ALONE, instead
    launched = launched_devices(os.environ, trainer.num_nodes) if is_launched else None
    num_devices = launched if trainer.devices == "auto" and launched is not None else wanted
    _check_there(num_devices, there, accelerator)
    notice = None
    if there is not None and num_devices < there and trainer.devices == "auto":
        notice = f"{num_devices} of the {there} GPUs of this machine: so many processes were started"
    return find_place(os.environ, num_devices, trainer.num_nodes), notice


def num_present(accelerator: str) -> int | None:
    """Devices of this machine; None: processes of a CPU, of which there may be any number."""
    if accelerator == "cpu":
        return None
    return max(1, torch.cuda.device_count()) if accelerator == "cuda" else 1


def _check_there(num_devices: int, there: int | None, accelerator: str) -> None:
    if there is None or num_devices <= there:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    why = f" (CUDA_VISIBLE_DEVICES={visible})" if accelerator == "cuda" and visible is not None else ""
    hint = ""
    if accelerator == "cuda" and find_launcher(os.environ) == "srun":
        hint = "; with srun give --gpus-per-node, so that each task sees all GPUs of its machine"
    raise ConfigError(
        f"trainer.devices={num_devices}: this machine has {there} {accelerator} device(s){why}; type"
        f" trainer.devices={there}, or leave it out{hint}"
    )
