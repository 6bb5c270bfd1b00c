"""How a training starts: as a new run, as a resumed one, or not at all because everything is done."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from classifier_training.config import to_yaml
from classifier_training.config.contradictions import contradictions_of_typed
from classifier_training.config.explain import explain_all
from classifier_training.config.overrides import Overrides
from classifier_training.config.schema import Config
from classifier_training.config.training import load_training
from classifier_training.data.photos import Photos
from classifier_training.data.splits.file import write_split
from classifier_training.data.splits.make import SPLIT_RULE
from classifier_training.errors import ConfigError
from classifier_training.files.atomic import write_text
from classifier_training.run.checkpoint_files import link_or_copy
from classifier_training.run.environment import describe_environment, read_environment
from classifier_training.run.folder import RunFolder, check_run_name, create_run
from classifier_training.run.plan_record import write_plan
from classifier_training.run.processes import is_main_process, slurm_job
from classifier_training.run.records import write_record
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.choose import completed
from classifier_training.training.finish import TrainResult, finished_result
from classifier_training.training.plan import Plan, plan_rows
from classifier_training.training.resume import Resumed, find_resumed
from classifier_training.training.time_plan import as_new_probe
from classifier_training.training.weights import weights_record


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
            return completed(self.config, chosen)
        config, notes = load_training(self.overrides, file=self.file, chosen=chosen)
        _, before = load_training(self.overrides, file=self.file)
        warn_of_idle(line for key, line in notes.items() if key not in before)
        return config

    def as_probe(self, config: Config) -> New:
        """The start of a linear probe, for which alone there is time, instead; warns of what was typed for nothing.

        Args:
            config: What was planned.
        """
        probe = as_new_probe(config)
        typed = {one.key: one for one in self.overrides.settings} if self.overrides is not None else {}
        used = config.model_copy(update={"recipe": probe.recipe})
        warn_of_idle(explain_all(contradictions_of_typed(used, typed.keys() - {"trainer.time_limit"}), typed))
        return replace(self, config=probe, overrides=None, file=None)

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
        settings, notes = load_training(overrides, file=config)
        if settings.data.folds is not None and settings.data.fold is None:
            raise ConfigError(
                f"data.folds={settings.data.folds} is a run for each fold: call cross_validate(), or choose the fold"
                " that this run tests on with data.fold=1"
            )
        warn_of_idle(notes.values())
        # the config.yaml of a run holds its name; repeating that run makes a second one next to it
        may_rename = config is not None and overrides.last("run.name") is None
        if is_main_process():
            check_run_name(Path(settings.run.dir).expanduser(), settings.run.name, may_rename=may_rename)
        return New(settings, may_rename, overrides, config)
    if resume is not False:  # a job that is requeued has typed what its run has accepted
        load_training(overrides, file=resumed.run.config, is_new=False)
    if resumed.best is not None and resumed.is_trained:
        result = finished_result(resumed.run, resumed.config, num_epochs=resumed.epoch, best_epoch=resumed.best[0])
        return resumed if result is None else Finished(result)
    return resumed


def warn_of_idle(lines: Iterable[str]) -> None:
    """Warns of settings that do nothing and are not refused, as one file may serve several trainings."""
    for line in lines:
        warnings.warn(line, stacklevel=3)


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
    write_plan(run, plan_rows(plan.config, plan), is_resumed=checkpoint is not None)
    write_split(run.split, plan.photos)
    if checkpoint not in (None, run.last_checkpoint):
        link_or_copy(checkpoint, run.last_checkpoint)  # a damaged one would be kept as the one before the next
