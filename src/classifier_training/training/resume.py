"""Resuming a run: which run, from which checkpoint, and what must be as it was at its beginning."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from classifier_training.callbacks.checkpoint import SAVED_TENSORS, VALIDATION_LEFT, RunCheckpoint
from classifier_training.callbacks.time_limit import TimeLimit
from classifier_training.config import load_config
from classifier_training.config.flatten import flat_settings
from classifier_training.config.overrides import OverrideLike, Overrides
from classifier_training.config.schema import Config, ExportConfig, ReportConfig, TrackingConfig
from classifier_training.data.loading.policies import AUGMENTATION
from classifier_training.data.photos import Photos
from classifier_training.data.splits.make import SPLIT_RULE
from classifier_training.errors import CheckpointError, RunError, first_line
from classifier_training.files.text import name_some, short_text
from classifier_training.models.checkpoint import read_checkpoint
from classifier_training.models.finite import first_not_finite
from classifier_training.results.final_choice import FINAL_CHOICE
from classifier_training.run.checkpoint_files import resumable_checkpoints
from classifier_training.run.environment import read_environment
from classifier_training.run.events import note_event
from classifier_training.run.folder import RunFolder, latest_run, open_run
from classifier_training.run.processes import slurm_job, was_requeued
from classifier_training.run.time_budget import has_run_out
from classifier_training.terminal.terminal import Terminal, duration
from classifier_training.training.extension import describe_extension
from classifier_training.training.same_devices import DEVICE_SETTINGS, TrainedOn, trained_on
from classifier_training.training.same_photos import check_photos


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run that is resumed, and where.

    Attributes:
        run: Its folder.
        config: Its configuration, with the settings that the resume changes.
        checkpoint: The file to resume from; None: the run was stopped before it wrote one.
        epoch: Epochs that are trained; with ``validation_left`` the last of them is not validated.
        batch: Batches of the next epoch that are done.
        classes: The classes it was trained on; empty without a checkpoint.
        validation_left: Whether it resumes with the validation of the last trained epoch.
        stopped_early: Whether early stopping, with the present patience, has ended the training.
        time: What the checkpoint holds of the time that is spent; empty: there was no limit.
        best: Epoch of the best weights, from 0, and their monitored metric; None where there are none yet.
        schedule: What becomes of the learning rate with another number of epochs, a message; None: nothing changes.
        unusable: What is wrong with the later checkpoints that cannot be used, a message each.
        split_rule: How the photos are split, see `SPLIT_RULE`.
        augmentation: The version of the augmentation that it trained with.
        trained_on: The devices that it was trained on.
    """

    run: RunFolder
    config: Config
    checkpoint: Path | None
    epoch: int = 0
    batch: int = 0
    classes: tuple[str, ...] = ()
    validation_left: bool = False
    stopped_early: bool = False
    time: Mapping[str, Any] = field(default_factory=dict)
    best: tuple[int, float] | None = None
    schedule: str | None = None
    unusable: tuple[str, ...] = ()
    split_rule: int = SPLIT_RULE
    augmentation: int = AUGMENTATION
    trained_on: TrainedOn | None = None

    @property
    def is_trained(self) -> bool:
        """Whether no epoch is left to train or to validate."""
        is_out_of_time = has_run_out(self.time, self.config.trainer.time_limit_seconds)
        is_over = self._has_all_epochs or self.stopped_early or is_out_of_time
        return self.best is not None and is_over and not self.validation_left

    @property
    def _has_all_epochs(self) -> bool:
        return not self.config.trainer.is_ended_by_clock and self.epoch >= self.config.trainer.num_epochs

    def check(self, photos: Photos) -> None:
        """Makes sure that the photos are the ones that the run began with.

        Raises:
            CheckpointError: Their classes are others.
            RunError: Their bytes, labels or splits are others.
        """
        if self.checkpoint is not None:
            check_classes(self.checkpoint, self.classes, photos.classes)
        check_photos(self.run, photos)

    def complete(self, chosen: Mapping[str, object]) -> Config:  # noqa: ARG002 - as of a new run
        """The configuration of the run, in which everything was decided when it began."""
        return self.config

    def open_run(self, config: Config) -> RunFolder:  # noqa: ARG002 - as of a new run
        """The folder of the run."""
        return self.run

    def describe(self, terminal: Terminal) -> None:
        """Prints where the run resumes, and why not from the last checkpoint."""
        if self.checkpoint is None:
            terminal.info("no checkpoint yet: starting from the beginning")
            return
        if self.checkpoint != self.run.last_checkpoint:
            reasons = "; ".join(self.unusable) or f"{self.run.last_checkpoint} is missing"
            terminal.warn(f"{reasons}; resuming from {self.checkpoint.name}, the one before")
            note_event(self.run, f"{reasons}; resumed from {self.checkpoint.name}, the one before")
        if self.is_trained:
            early = "" if self._has_all_epochs else ", by early stopping" if self.stopped_early else ", in the time"
            terminal.info(f"all {self.epoch} epochs are already trained{early}: finishing")
            note_event(self.run, "resumed after the training, to finish it")
        elif self.validation_left:
            terminal.info(f"resuming at the validation of epoch {self.epoch}")
            note_event(self.run, f"resumed at the validation of epoch {self.epoch}")
        else:
            batch = f", batch {self.batch + 1}" if self.batch else ""
            terminal.info(f"resuming at epoch {self.epoch + 1}{batch}")
            note_event(self.run, f"resumed at epoch {self.epoch + 1}{batch}")
            limit = self.config.trainer.time_limit_seconds
            if limit is not None and self.time:
                terminal.info(f"time limit {duration(limit)}: {duration(self.time['spent'])} were spent before")
            if self.schedule is not None:
                terminal.info(self.schedule)
            data = self.config.data
            if self.augmentation < 2 and (data.color_jitter > 0 or data.auto_augment != "none"):
                terminal.warn(
                    "this version augments colours and turns images in another way than the one that the run began"
                    " with: its epochs from here on are not those that it would have had"
                )
            if self.augmentation < AUGMENTATION and data.random_erasing > 0:
                terminal.warn(
                    "this version erases other parts of images than the one that the run began with: its epochs from"
                    " here on are not those that it would have had"
                )


def find_resumed(resume: str | os.PathLike[str] | bool, overrides: Overrides, config: Path | None) -> Resumed | None:
    """The run to resume; None: a new run begins.

    Args:
        resume: The run folder; True: the run that was started last; False: none, unless SLURM has requeued this job.
        overrides: Settings; ``run.dir`` is the folder of the runs.
        config: A YAML file of settings for a new run.

    Raises:
        RunError: See `read_resumed`; or a ``config`` is given besides the run's own.
        CheckpointError: See `read_resumed`.
        ConfigError: A setting is wrong.
    """
    if resume is False:
        return _find_requeued(overrides, config)
    if config is not None:
        raise RunError("--resume takes the run's own config.yaml; leave --config out")
    parent = load_config(overrides.only(lambda key: key == "run.dir")).run.dir
    rest = overrides.only(lambda key: key != "run.dir")
    return read_resumed(resume if resume is True else Path(resume), rest, Path(parent))


def _find_requeued(overrides: Overrides, config: Path | None) -> Resumed | None:
    """The run of a job that SLURM has requeued; its settings are those that it began with."""
    job = slurm_job()
    if job is None or not was_requeued():
        return None
    parent = Path(load_config(overrides, file=config).run.dir).expanduser()
    run = requeued_run(parent, job)
    return None if run is None else read_resumed(run.root, [], parent)


def read_resumed(run: str | Path | bool, overrides: OverrideLike, parent: Path) -> Resumed:
    """Finds the run and its last checkpoint that is whole.

    Args:
        run: The run folder; True: the run in ``parent`` that was started last.
        overrides: Settings to change.
        parent: The folder that holds all runs.

    Raises:
        RunError: There is no such run, or a setting may not change.
        CheckpointError: None of its checkpoints can be used.
        ConfigError: A setting is wrong.
    """
    folder = latest_run(parent) if isinstance(run, bool) else _open(Path(run))
    config = load_config(overrides, file=folder.config)
    before = load_config(file=folder.config)
    check_settings(before, config)
    checkpoint, content, unusable = _last_whole(folder)
    if checkpoint is None:
        return Resumed(folder, config, None, split_rule=_split_rule(folder))
    position = content.get("ImageFolderDataModule", {"epoch": content["epoch"] + 1, "batch": 0})
    states = content.get("callbacks", {})
    return Resumed(
        folder,
        config,
        checkpoint,
        epoch=position["epoch"],
        batch=position["batch"],
        classes=tuple(content["hyper_parameters"]["classes"]),
        validation_left=content.get(VALIDATION_LEFT, False),
        stopped_early=_has_stopped_early(states, config.trainer.early_stopping_patience),
        time=states.get(TimeLimit.__qualname__, {}),
        best=_best(states.get(RunCheckpoint.__qualname__, {})),
        schedule=describe_extension(content, before, config),
        unusable=unusable,
        split_rule=_split_rule(folder),
        augmentation=position.get("augmentation", 1),
        trained_on=trained_on(folder, before, position),
    )


def _split_rule(run: RunFolder) -> int:
    """The rule by which a run's photos were split; that of this version where the run has not split them yet."""
    if not run.environment.is_file():
        return SPLIT_RULE
    rule = read_environment(run.environment).get("data_split_rule")
    return rule if isinstance(rule, int) else 1


def requeued_run(parent: Path, job: str) -> RunFolder | None:
    """The run that a job of SLURM, by its ``environment.json``, made before it was requeued; None: it made none."""
    runs = [RunFolder(path.parent) for path in parent.glob("*/environment.json")]
    made = []
    for run in runs:
        with contextlib.suppress(RunError):  # a damaged one of another run
            if run.config.is_file() and read_environment(run.environment).get("slurm_job") == job:
                made.append(run)
    return max(made, key=lambda run: run.config.stat().st_mtime_ns, default=None)


def _last_whole(run: RunFolder) -> tuple[Path | None, dict[str, Any], tuple[str, ...]]:
    """The latest checkpoint that can be used, what it holds, and why later ones cannot be."""
    unusable: list[str] = []
    for path in resumable_checkpoints(run):
        try:
            return path, _read_whole(path), tuple(unusable)
        except CheckpointError as error:
            unusable.append(str(error))
    if unusable:
        raise CheckpointError(
            f"no checkpoint of {run.root} can be used; restore one, or start a new run: {'; '.join(unusable)}"
        )
    return None, {}, ()


def _read_whole(path: Path) -> dict[str, Any]:
    """A checkpoint every byte of which is as it was written, with finite weights; reading it alone checks neither."""
    content = read_checkpoint(path)
    if FINAL_CHOICE in content:
        raise CheckpointError(f"{path} holds chosen final weights, and no training that could be resumed")
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise CheckpointError(f"{path} is damaged ({first_line(error)[:100]}); use another one") from None
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged (the checksum of {damaged} is wrong); use another one")
    losses = torch.tensor(content.get("train_loss", ()))  # a mean and a weight a rank
    saved = {key: content[key] for key in SAVED_TENSORS if key in content}
    wrong = first_not_finite(saved | {"train/loss": losses})
    if wrong is not None:
        raise CheckpointError(f"{path} holds numbers that are not finite ({wrong}): the training had diverged")
    return content


def _best(state: Mapping[str, Any]) -> tuple[int, float] | None:
    """Epoch and score of the best weights, by the state of `RunCheckpoint`."""
    epoch, score = state.get("best_epoch"), state.get("best_model_score")
    return None if epoch is None or score is None else (epoch, score)


def _has_stopped_early(states: Mapping[str, Mapping[str, Any]], patience: int | None) -> bool:
    """Whether Lightning's ``EarlyStopping`` has ended the training, by the states of all callbacks."""
    state: Mapping[str, Any] = next((state for state in states.values() if "wait_count" in state), {})
    if patience is None or not state:
        return False
    is_finite = state.get("stopping_reason") != EarlyStoppingReason.NON_FINITE_METRIC.value
    return state["wait_count"] >= patience or not is_finite


def _open(path: Path) -> RunFolder:
    """The run of a path, which may be one of its checkpoints."""
    try:
        return open_run(path.parent.parent if path.suffix == ".ckpt" and path.is_file() else path)
    except RunError as error:
        raise RunError(
            f"{error}; --resume takes a run folder (it knows its photos), or nothing for the last run"
        ) from None


RESUMABLE_SETTINGS: Final = frozenset(
    {
        "data.root",  # where the same photos lie now: `check_photos` compares their contents
        "distill.teacher",  # where the same teacher lies now: `check_same_teacher` compares its hash
        "data.on_group_overlap",
        "data.num_workers",
        "data.cache",
        "data.cache_dir",
        "data.cache_limit",
        "data.copies_limit",
        "trainer.max_epochs",
        "trainer.time_limit",
        "trainer.accelerator",
        "trainer.join_timeout_seconds",
        "trainer.early_stopping_patience",
        "checkpoint.every_n_steps",
        "checkpoint.every_n_minutes",
        "checkpoint.keep_best",
        "checkpoint.keep_last",
        *(f"export.{name}" for name in ExportConfig.model_fields),
        *(f"report.{name}" for name in ReportConfig.model_fields),
        *(f"tracking.{name}" for name in TrackingConfig.model_fields),
    }
)
"""Settings that a resumed run may change; every other one would make it another run."""


def check_settings(before: Config, now: Config) -> None:
    """Raises a `RunError` where settings have changed that a resumed run may not change."""
    old, new = (flat_settings(config.model_dump(mode="json")) for config in (before, now))
    changed = {key for key in new if new[key] != old[key]}
    if changed & (DEVICE_SETTINGS - {"data.batch_size"}) and now.data.batch_size != "auto":
        changed -= DEVICE_SETTINGS  # `check_devices` decides
    forbidden = sorted(changed - RESUMABLE_SETTINGS)
    if forbidden:
        changes = ", ".join(f"{key} ({short_text(str(old[key]))} → {short_text(str(new[key]))})" for key in forbidden)
        raise RunError(
            f"a resumed run cannot change {changes}; start a new run for that. It may change"
            f" {', '.join(sorted(RESUMABLE_SETTINGS))}"
        )


def check_classes(checkpoint: Path, before: Sequence[str], now: Sequence[str]) -> None:
    """Raises a `CheckpointError` where the photos have other classes than a checkpoint was trained on."""
    if tuple(before) != tuple(now):
        raise CheckpointError(
            f"{checkpoint} was trained on {len(before)} classes ({name_some(before)}), the photos now have"
            f" {len(now)} ({name_some(now)}); start a new run"
        )
