"""How a training starts: as a new run, as a resumed one, or not at all because everything is done."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from classifier_training.config import load_config, to_yaml
from classifier_training.config.overrides import Overrides
from classifier_training.config.schema import Config
from classifier_training.data.photos import Photos
from classifier_training.data.splits.file import write_split
from classifier_training.data.splits.make import SPLIT_RULE
from classifier_training.errors import ConfigError
from classifier_training.files.atomic import write_text
from classifier_training.models.training_checks import check_adjustment, check_warmup
from classifier_training.run.checkpoint_files import link_or_copy
from classifier_training.run.environment import describe_environment, read_environment
from classifier_training.run.folder import RunFolder, check_run_name, create_run
from classifier_training.run.processes import is_main_process, slurm_job
from classifier_training.run.records import write_record
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.choose import completed
from classifier_training.training.finish import TrainResult, finished_result
from classifier_training.training.plan import Plan
from classifier_training.training.probe_settings import check_probe_settings
from classifier_training.training.resume import Resumed, find_resumed
from classifier_training.training.weights import check_recipe, weights_record


@dataclass(frozen=True, slots=True)
class New:
    """A run that begins; what it shares with `Resumed` has the value for nothing trained yet.

    Attributes:
        config: Its configuration.
        may_rename: Whether a number is added to a name that is taken.
        overrides: The settings that it was composed from; None: those that its configuration has set.
        file: Its file of settings.
    """

    config: Config
    may_rename: bool = False
    overrides: Overrides | None = None
    file: Path | None = None
    checkpoint: None = None
    epoch: int = 0
    best: None = None
    is_trained: bool = False
    split_rule: int = SPLIT_RULE

    def check(self, photos: Photos) -> None:
        """A new run takes any photos."""

    def complete(self, chosen: Mapping[str, object]) -> Config:
        """The configuration with what was chosen for what it leaves open.

        Raises:
            ConfigError: It could not be trained with that.
        """
        if self.overrides is None:
            config = completed(self.config, chosen)
        else:
            config = load_config(self.overrides, file=self.file, chosen=chosen)
        check_settings_of_training(config)
        return config

    def open_run(self, config: Config) -> RunFolder:
        """Makes the run folder; only the first process of a training does."""
        parent = Path(config.run.dir).expanduser()
        return create_run(parent, config.run.name, config.model.name, may_rename=self.may_rename)

    def describe(self, terminal: Terminal) -> None:
        """A new run starts with its plan, which is shown."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that is trained, scored and exported."""

    result: TrainResult


def find_start(
    resume: str | os.PathLike[str] | bool, overrides: Overrides, config: Path | None
) -> New | Resumed | Finished:
    """How a training starts; arguments and errors as `find_resumed`.

    Raises:
        RunError: The name of a new run is taken.
        ConfigError: A new run could not be trained with its settings.
    """
    resumed = find_resumed(resume, overrides, config)
    if resumed is None:
        settings = load_config(overrides, file=config)
        if settings.data.folds is not None and settings.data.fold is None:
            raise ConfigError(
                f"data.folds={settings.data.folds} is a run for each fold: call cross_validate(), or choose the fold"
                " that this run tests on with data.fold=1"
            )
        check_probe_settings(settings, overrides)
        check_settings_of_training(settings)
        # the config.yaml of a run holds its name; repeating that run makes a second one next to it
        may_rename = config is not None and overrides.last("run.name") is None
        if is_main_process():
            check_run_name(Path(settings.run.dir).expanduser(), settings.run.name, may_rename=may_rename)
        return New(settings, may_rename, overrides, config)
    check_probe_settings(resumed.config, overrides)
    if resumed.best is not None and resumed.is_trained:
        result = finished_result(resumed.run, resumed.config, num_epochs=resumed.epoch, best_epoch=resumed.best[0])
        return resumed if result is None else Finished(result)
    return resumed


def check_settings_of_training(config: Config) -> None:
    """Makes sure that a training with these settings makes sense.

    Raises:
        ConfigError: It does not.
    """
    check_warmup(config.scheduler, config.trainer.num_epochs)
    if config.data.balance == "logit_adjustment":
        check_adjustment(config.loss)
    check_recipe(config)


def create_run_folder(run: RunFolder, plan: Plan, checkpoint: Path | None) -> None:
    """Writes what is known before the first step; gives the checkpoint to resume from the name of the last one."""
    run.remove_unfinished()
    before = read_environment(run.environment)
    started = before.get("started")  # that of a run that is resumed
    if not isinstance(started, str) or not started:
        started = datetime.now().astimezone().isoformat(timespec="seconds")
    write_text(run.config, to_yaml(plan.config))
    environment = describe_environment(
        seed=plan.config.seed,
        data_root=plan.photos.root,
        fingerprint=plan.photos.fingerprint,
        order=plan.photos.order,
        started=started,
        slurm_job=slurm_job(),
        split_rule=plan.photos.split_rule,
        weights=weights_record(plan, before.get("weights")),
    )
    if plan.teacher is not None:
        environment = replace(environment, teacher=plan.teacher.record())
    write_record(run.environment, environment)
    write_split(run.split, plan.photos)
    if checkpoint not in (None, run.last_checkpoint):
        link_or_copy(checkpoint, run.last_checkpoint)  # a damaged one would be kept as the one before the next
