"""`cross_validate`: a run for each fold, their predictions taken together, and a final model of all photos."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from classifier_training.config import load_config, to_yaml
from classifier_training.config.arguments import read_overrides
from classifier_training.config.overrides import OverrideLike, Overrides
from classifier_training.config.schema import Config
from classifier_training.config.training import load_training
from classifier_training.errors import ConfigError, RunError, TrainingStopped, UserError
from classifier_training.evaluation.out_of_fold import out_of_fold, summarise_folds, write_out_of_fold
from classifier_training.files.atomic import write_text
from classifier_training.metrics.intervals import ScoreIntervals
from classifier_training.metrics.scores import Scores
from classifier_training.results.folds_file import FoldsFile
from classifier_training.run.folder import RunFolder, check_run_name, create_run
from classifier_training.run.folds_folder import FoldsFolder, find_folds
from classifier_training.run.processes import is_main_process
from classifier_training.terminal.score_table import show_scores
from classifier_training.terminal.terminal import Terminal, duration
from classifier_training.training.finish import TrainResult
from classifier_training.training.train import train

Number = int | Literal["all"]


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """What a cross-validation has found, and where it is.

    Attributes:
        folder: Its folder.
        folds: The result of each fold's run; its ``test`` is on the photos of the fold.
        out_of_fold: The scores of all photos, each predicted by the run that has not trained on it.
        intervals: The intervals of these scores, of 95 % confidence.
        means: Means over the folds and their intervals, as in ``folds.json``.
        final: The model of all photos; None where ``data.refit`` is off.
    """

    folder: Path
    folds: tuple[TrainResult, ...]
    out_of_fold: Scores
    intervals: ScoreIntervals
    means: FoldsFile
    final: TrainResult | None = None


def cross_validate(
    photos: str | os.PathLike[str] | None = None,
    *overrides: OverrideLike,
    config: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | bool = False,
    dry_run: bool = False,
    quiet: bool = False,
) -> CrossValidation | None:
    """Trains a run for each of ``data.folds`` folds, one after the other; each tests on the photos of its fold.

    Photos of one group, and copies of one photo, are in one fold. The first run decides what the settings leave
    automatic, and all others take it over. ``trainer.time_limit`` is that of each run. With ``data.refit`` a final
    model is trained on all photos and exported; what it can do is what the folds have shown.

    Args:
        photos: As of `train`.
        overrides: As of `train`; ``data.folds`` is among them or in ``config``.
        config: As of `train`.
        resume: The folder of a cross-validation to resume; True: the one that was started last.
        dry_run: As of `train`, of the first fold.
        quiet: Print warnings and results only.

    Returns:
        The scores and where they are; None for a dry run.

    Raises:
        UserError: As of `train`; or a class has fewer photos than there are folds.

    Example:
        >>> found = cross_validate("photos", "data.folds=5")  # doctest: +SKIP
        >>> found.out_of_fold.top1, found.means.intervals["top1"]  # doctest: +SKIP
    """
    terminal = Terminal(quiet=quiet, silent=not is_main_process())
    given = read_overrides(*overrides, photos=photos)
    if dry_run:
        train(None, given, {"data.fold": 1}, config=config, dry_run=True, quiet=quiet)
        return None
    folder, settings = _open(resume, given) if resume else _create(given, None if config is None else Path(config))
    terminal.info(f"cross-validation of {settings.data.folds} folds: {folder.root}")
    try:
        results = _train_folds(folder, settings, given if resume else read_overrides(), terminal)
        final = _train_one(folder, "all", settings, read_overrides(), quiet=quiet) if settings.data.refit else None
    except (KeyboardInterrupt, TrainingStopped):
        again = f"classifier-training train --resume {folder.root}"
        terminal.result(f"the cross-validation is not finished; go on with it, that run included: {again}")
        raise
    return _finish(folder, results, final, settings, terminal)


def _train_folds(folder: FoldsFolder, settings: Config, changes: Overrides, terminal: Terminal) -> list[TrainResult]:
    """Trains the run of each fold that is not finished yet, and says how long the others will take."""
    count = settings.data.folds or 0
    started, results = time.monotonic(), list[TrainResult]()
    for number in range(1, count + 1):
        try:
            results.append(_train_one(folder, number, settings, changes, quiet=terminal.quiet))
        except UserError:
            _remove_unused(folder)
            raise
        num_left = count - number + settings.data.refit
        left = f"; about {duration((time.monotonic() - started) / number * num_left)} left" if num_left else ""
        terminal.info(f"fold {number} of {count}: top-1 {results[-1].test.top1:.2%}{left}")
    return results


def _create(given: Overrides, config: Path | None) -> tuple[FoldsFolder, Config]:
    """A new folder with the settings.

    Raises:
        ConfigError: There is no number of folds, or one fold is chosen.
        RunError: The name is taken.
    """
    settings, _ = load_training(given, file=config)
    if settings.data.folds is None or settings.data.fold is not None:
        raise ConfigError(
            "a cross-validation needs the number of folds, data.folds=5, and no data.fold, with which train runs one"
        )
    parent = Path(settings.run.dir).expanduser()
    if not is_main_process():  # the first one makes the folder; where that is must be known to all
        if settings.run.name is None:
            raise ConfigError("a cross-validation in several processes needs a name for its folder: run.name=NAME")
        return FoldsFolder(parent / settings.run.name), settings
    check_run_name(parent, settings.run.name)
    name = settings.run.name or f"{datetime.now():%Y%m%d-%H%M%S}-folds"
    folder = FoldsFolder(create_run(parent, name, settings.model.name, may_rename=settings.run.name is None).root)
    write_text(folder.settings, to_yaml(settings))
    return folder, settings


def _open(resume: str | os.PathLike[str] | bool, given: Overrides) -> tuple[FoldsFolder, Config]:
    parent = Path(load_config(given.only(lambda key: key == "run.dir")).run.dir)
    folder = find_folds(resume, parent)
    if folder is None:
        where = parent if isinstance(resume, bool) else resume
        raise RunError(f"no cross-validation in {where}: there is no folds.yaml")
    return folder, load_config(file=folder.settings)


def _train_one(
    folder: FoldsFolder, number: Number, settings: Config, changes: Overrides, *, quiet: bool
) -> TrainResult:
    """Trains, or resumes, the run of one fold or the final one."""
    run = folder.run(number)
    if run.config.is_file():
        result = train(None, changes.only(lambda key: key != "run.dir"), resume=run.root, quiet=quiet)
    else:
        _remove_empty(run)
        first = folder.run(1).config
        source = first if number != 1 and first.is_file() else folder.settings
        result = train(None, changes, _settings_of(run, number, settings), config=source, quiet=quiet)
    if result is None:  # a dry run alone
        raise RunError(f"{run.root} was not trained")
    return result


def _settings_of(run: RunFolder, number: Number, settings: Config) -> Mapping[str, Any]:
    """What the run of a fold has of its own."""
    own: dict[str, Any] = {"data.fold": number, "run.dir": str(run.root.parent), "run.name": run.root.name}
    own["export.enabled"] = settings.export.enabled and number == "all"
    if number == "all":  # its validation photos are trained on, so their scores say nothing of when to stop
        own["trainer.early_stopping_patience"] = None
    return own


def _remove_empty(run: RunFolder) -> None:
    """Removes the folder of a run that was killed before its settings were written."""
    if run.root.is_dir() and is_main_process():
        shutil.rmtree(run.root)


def _remove_unused(folder: FoldsFolder) -> None:
    """Removes the folder where no run of it has begun, as the photos or the settings cannot be used."""
    if is_main_process() and not any(folder.root.glob("*/config.yaml")):
        shutil.rmtree(folder.root)


def _finish(
    folder: FoldsFolder, results: list[TrainResult], final: TrainResult | None, settings: Config, terminal: Terminal
) -> CrossValidation:
    runs = [RunFolder(result.run) for result in results]
    scored, summary = out_of_fold(runs), summarise_folds(runs, has_final=final is not None)
    if is_main_process():
        write_out_of_fold(folder, scored, summary, draw=settings.report.enabled)
    show_scores(terminal, scored.scores, scored.classes, "scores of all photos, each by the run of its fold")
    (low, high), mean = summary.intervals["top1"], summary.means["top1"]
    terminal.result(
        f"top-1 {scored.scores.top1:.2%} on {scored.scores.num_images} images, each by the run of its fold; mean of"
        f" {len(runs)} folds {mean:.2%} (95 % interval {low:.2%} to {high:.2%}): {folder.root}"
    )
    return CrossValidation(folder.root, tuple(results), scored.scores, scored.intervals, summary, final)
