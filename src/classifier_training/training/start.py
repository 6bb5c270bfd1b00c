"""How a run begins, or goes on: its folder, what is written there before the first step, and what is said."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

from classifier_training.config import to_yaml
from classifier_training.data.splits.file import write_split
from classifier_training.files.atomic import write_text
from classifier_training.run.checkpoint_files import link_or_copy
from classifier_training.run.environment import describe_environment
from classifier_training.run.folder import RunFolder, create_run
from classifier_training.run.processes import is_main_process, slurm_job
from classifier_training.run.records import write_record
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.plan import Plan
from classifier_training.training.resume import ResumePoint

RUN_FOLDER_VARIABLE = "CLASSIFIER_TRAINING_RUN_FOLDER"
"""Tells the processes that a multi-device run starts which folder the first one made."""


def new_run(plan: Plan, *, may_rename: bool) -> RunFolder:
    """Makes the run folder; the other processes of the run write nothing, and make none.

    Those that the first process has started know where it is, those that torchrun or srun has started need not.
    """
    settings = plan.config.run
    if not is_main_process():
        made = os.environ.get(RUN_FOLDER_VARIABLE)
        return RunFolder(Path(settings.dir) / (settings.name or plan.config.model.name) if made is None else Path(made))
    run = create_run(Path(settings.dir).expanduser(), settings.name, plan.config.model.name, may_rename=may_rename)
    os.environ[RUN_FOLDER_VARIABLE] = str(run.root.resolve())
    return run


def create_run_folder(run: RunFolder, plan: Plan, point: ResumePoint | None) -> None:
    """Writes what is known before the first step; makes the checkpoint to go on from the last one, if it is not."""
    run.remove_unfinished()
    started = _first_start(run) or datetime.now().astimezone().isoformat(timespec="seconds")
    write_text(run.config, to_yaml(plan.config))
    environment = describe_environment(
        seed=plan.config.seed,
        data_root=plan.photos.root,
        fingerprint=plan.photos.fingerprint,
        order=plan.photos.order,
        started=started,
        slurm_job=slurm_job(),
    )
    write_record(run.environment, environment)
    write_split(run.split, plan.photos)
    if point is not None and point.checkpoint not in (None, run.last_checkpoint):
        link_or_copy(point.checkpoint, run.last_checkpoint)  # a damaged one would be kept as the one before the next


def _first_start(run: RunFolder) -> str | None:
    """When a run that is resumed began."""
    if not run.environment.is_file():
        return None
    started = json.loads(run.environment.read_text(encoding="utf-8")).get("started")
    return started if isinstance(started, str) else None


def describe_resume(point: ResumePoint, plan: Plan, terminal: Terminal) -> None:
    """Says where a resumed run goes on, and why not from the last checkpoint."""
    if point.checkpoint is None:
        terminal.info("no checkpoint yet: starting anew")
        return
    if point.checkpoint != point.run.last_checkpoint:
        reasons = "; ".join(point.unusable) or f"there is no {point.run.last_checkpoint}"
        terminal.warn(f"{reasons}; going on from {point.checkpoint.name}, the one before")
    if point.is_trained:
        early = ", by early stopping" if point.epoch < plan.config.trainer.max_epochs else ""
        terminal.info(f"all {point.epoch} epochs are trained already{early}: finishing")
    elif point.validation_left:
        terminal.info(f"going on with the validation of epoch {point.epoch}")
    else:
        batch = f", batch {point.batch + 1}" if point.batch else ""
        terminal.info(f"going on with epoch {point.epoch + 1}{batch}")
