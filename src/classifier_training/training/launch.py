"""How the processes of a training begin together: what those that are started here get, and what must agree."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm

from classifier_training.config.compose import AUTO
from classifier_training.config.flatten import flat_settings
from classifier_training.config.schema import Config
from classifier_training.errors import ConfigError
from classifier_training.run.place import ALONE
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.batch_size import LR_OF_BATCHES, is_automatic
from classifier_training.training.group import Group
from classifier_training.training.join import join_group
from classifier_training.training.plan import Plan
from classifier_training.training.resume import RESUMABLE_SETTINGS, Resumed, read_resumed
from classifier_training.training.start import New

_MAY_DIFFER = frozenset({"data.root", "model.weights", "run.dir", "run.name"}) | RESUMABLE_SETTINGS
"""Settings that processes on several machines may have of their own: paths, and what changes no result."""


def join_training(
    start: New | Resumed,
    plan: Plan,
    job: Mapping[str, Any],
    terminal: Terminal,
    is_stop_agreed: Callable[[], bool],
    meeting_of_parent: str | None = None,
) -> AbstractContextManager[Group]:
    """The processes of a training, met; arguments and errors as of `join_group`.

    Where everything is trained and the rest is the work of one process, none are started.
    """
    if start.is_trained and plan.place.launcher == "none" and plan.place.num_nodes == 1:
        return contextlib.nullcontext(Group(ALONE))
    settings = flat_settings(plan.config.model_dump(mode="json"))
    facts = {name: str(value) for name, value in settings.items() if name not in _MAY_DIFFER}
    if is_automatic(plan):  # the first process has measured it, and the others learn it when they have met
        facts |= {"data.batch_size": AUTO}
        facts = {name: value for name, value in facts.items() if name not in LR_OF_BATCHES}
    facts["photos"] = str(plan.photos.fingerprint)[:12]
    facts["teacher"] = "none" if plan.teacher is None else str(plan.teacher.sha256)[:12]
    return join_group(
        plan.place,
        job,
        facts,
        terminal,
        device=plan.accelerator,
        timeout_seconds=plan.config.trainer.join_timeout_seconds,
        is_stop_agreed=is_stop_agreed,
        meeting_of_parent=meeting_of_parent,
    )


def rank_job(start: New | Resumed, plan: Plan) -> dict[str, Any]:
    """What a process on another device of this machine needs, as JSON values.

    Raises:
        ConfigError: The backbone is known to this process alone.
    """
    if plan.place.world_size == 1 or plan.place.launcher != "none":
        return {}
    trainer = start.config.trainer.model_copy(update={"devices": plan.num_devices, "accelerator": plan.accelerator})
    data = plan.config.data.model_copy(update={"root": start.config.data.root})  # with its credentials
    if is_automatic(plan):
        data = data.model_copy(update={"batch_size": AUTO})  # as in the processes that a launcher starts
    config = plan.config.model_copy(update={"trainer": trainer, "data": data})
    return {
        "config": config.model_dump(mode="json"),
        "run": str(start.run.root.resolve()) if isinstance(start, Resumed) else None,
        "stopped_early": isinstance(start, Resumed) and start.stopped_early,
        "modules": _modules_of_backbone(plan.config.model.name),
    }


def start_of_rank(job: Mapping[str, Any]) -> New | Resumed:
    """How the training starts of which another process has given the job."""
    config = Config.model_validate(job["config"])
    if job["run"] is None:
        return New(config)
    resumed = read_resumed(Path(job["run"]), [], Path(config.run.dir))
    return replace(resumed, config=config, stopped_early=job["stopped_early"])


def _modules_of_backbone(name: str) -> list[str]:
    """The module that registers a backbone with timm, where timm does not do so itself."""
    module = timm.model_entrypoint(name).__module__
    if module.startswith("timm."):
        return []
    if module == "__main__" or module not in sys.modules:
        raise ConfigError(
            f"model.name={name} is registered by the script itself, which the processes of the other devices do not"
            " run: register it in a module of its own that the script imports, or start the script with torchrun"
        )
    return [module]
