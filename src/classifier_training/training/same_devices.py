"""Whether a run is resumed on the devices that it was trained on, or on others that sample the same images."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from classifier_training.config.schema import Config
from classifier_training.errors import RunError
from classifier_training.models.device import resolve_accelerator
from classifier_training.run.folder import RunFolder
from classifier_training.run.place import find_launcher, launched_devices
from classifier_training.run.surroundings import one_device_reason
from classifier_training.training.devices import num_present

DEVICE_SETTINGS: Final = frozenset(
    {"data.batch_size", "trainer.accumulate_grad_batches", "trainer.devices", "trainer.num_nodes"}
)
"""Settings that a resumed run may change together, if every step keeps its images."""


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """What the images of a step were shared among.

    Attributes:
        world_size: Number of processes, each with a device of its own.
        batch_size: Images in a batch of one of them.
        num_accumulated: Batches in a step.
    """

    world_size: int
    batch_size: int
    num_accumulated: int = 1

    @property
    def num_images(self) -> int:
        """Images in a step of all of them."""
        return self.world_size * self.batch_size * self.num_accumulated


def trained_on(run: RunFolder, config: Config, position: Mapping[str, Any]) -> TrainedOn:
    """The devices of a run until now.

    Args:
        run: Its folder.
        config: Its ``config.yaml``, which of an early version leaves open what ``auto`` was.
        position: The data module's part of its checkpoint.
    """
    num_accumulated = position.get("accumulate_grad_batches", config.trainer.accumulate_grad_batches)
    if "world_size" in position:
        return TrainedOn(position["world_size"], position["batch_size"], num_accumulated)
    devices = config.trainer.devices
    num_devices = devices if isinstance(devices, int) else _num_automatic(run, config)
    return TrainedOn(num_devices * config.trainer.num_nodes, config.data.images_per_batch, num_accumulated)


def _num_automatic(run: RunFolder, config: Config) -> int:
    """What ``trainer.devices=auto`` was in a run of an early version: all GPUs, whose names are in its record."""
    if config.trainer.accelerator == "cpu" or not run.environment.is_file():
        return 1
    gpus: list[str] | None = json.loads(run.environment.read_text(encoding="utf-8")).get("gpus")
    return max(1, len(gpus or []))


def check_devices(run: RunFolder, before: TrainedOn, config: Config) -> None:
    """Makes sure that every step has as many images as the steps before, on whatever devices.

    The order of an epoch is the same on any number of devices, and every step takes its next images: the run samples
    what it would have sampled if it had not been stopped.

    Args:
        run: That is resumed.
        before: What it was trained on.
        config: Its settings now.

    Raises:
        RunError: Otherwise some images would be sampled twice, and others not at all.
    """
    accelerator = resolve_accelerator(config.trainer.accelerator)
    num_devices, where = _devices_here(config, accelerator)
    world_size, num_accumulated = num_devices * config.trainer.num_nodes, config.trainer.accumulate_grad_batches
    now = TrainedOn(world_size, config.data.images_per_batch, num_accumulated)
    is_there = config.trainer.devices in ("auto", num_devices)
    if now.num_images == before.num_images and is_there:
        return
    had = f"{run.root} was trained on {before.world_size} device(s) with data.batch_size={before.batch_size}"
    has = f"{where} {now.world_size}"
    if now.batch_size != before.batch_size:
        has += f" with data.batch_size={now.batch_size}"
    if now.num_accumulated != before.num_accumulated:
        had += f" trainer.accumulate_grad_batches={before.num_accumulated}"
        has += f" with trainer.accumulate_grad_batches={now.num_accumulated}"
    batch_size, rest = divmod(before.num_images, now.world_size * now.num_accumulated)
    advice = f"resume it on {before.world_size} device(s), or start a new run"
    if not rest:
        nodes = f" trainer.num_nodes={config.trainer.num_nodes}" if config.trainer.num_nodes > 1 else ""
        words = f"trainer.devices={num_devices}{nodes} data.batch_size={batch_size}"
        advice = (
            f"type: classifier-training train --resume {run.root} {words} (the same {before.num_images} images in each"
            f" step), or {advice}"
        )
    raise RunError(f"{had}, {has}: images would be sampled twice or not at all; {advice}")


def _devices_here(config: Config, accelerator: str) -> tuple[int, str]:
    """How many devices a training would take now, and why so many."""
    wanted, there = config.trainer.devices, num_present(accelerator)
    if find_launcher(os.environ) != "none":
        launched = launched_devices(os.environ, config.trainer.num_nodes)
        if launched is not None:
            return launched, "the launcher has started"
    elif (reason := one_device_reason()) is not None:
        return 1, f"started from {reason} it has"
    if isinstance(wanted, int) and (there is None or wanted <= there):
        return wanted, "the settings now say"
    return there or 1, "this machine has"
