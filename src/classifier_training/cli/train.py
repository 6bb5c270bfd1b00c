"""The command ``train``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from classifier_training.cli.arguments import (
    ConfigFile,
    Quiet,
    TargetCoverage,
    TargetPrecision,
    check_settings,
    read_settings,
    split_arguments,
    target_settings,
)

if TYPE_CHECKING:
    from classifier_training.config.overrides import Overrides

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        help="Folder of photos, table file or shards (with --resume: a run); settings, see `config options`.",
        metavar="PHOTOS [KEY=VALUE]...",
    ),
]
TimeLimit = Annotated[
    str | None, typer.Option("--time-limit", help="Be done in this time: 90s, 10m, 1h30m.", metavar="TIME")
]


def train(
    arguments: Arguments = None,
    config: ConfigFile = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted run: the given one, or the latest in runs/.")
    ] = False,
    time_limit: TimeLimit = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the settings and the photos, show the plan, and stop.")
    ] = False,
    refit: Annotated[
        bool, typer.Option("--refit", help="With data.folds=K: train a final model on all photos (data.refit=true).")
    ] = False,
    target_precision: TargetPrecision = None,
    target_coverage: TargetCoverage = None,
    quiet: Quiet = False,
) -> None:
    """Train a classifier on a folder of photos, then test and export it.

    Examples:
      classifier-training train photos
      classifier-training train photos model=resnet50 run.name=shirts
      classifier-training train photos data.folds=5 --refit
      classifier-training train photos --time-limit 10m
      classifier-training train --resume runs/shirts
    """
    started = time.monotonic()
    paths, settings = split_arguments(arguments)
    settings += ["data.refit=true"] * refit + target_settings(target_precision, target_coverage)
    settings = settings if time_limit is None else [*settings, f"trainer.time_limit={time_limit}"]
    path, overrides = paths[0] if paths else None, read_settings(settings)
    if resume:
        from classifier_training.config import load_config

        load_config(overrides)  # mistakes first: what follows takes seconds to import
    else:
        check_settings(overrides, config, path, is_training=True)
    source, run = (None, path or True) if resume else (path, False)
    if _is_of_folds(overrides, config, run):
        from classifier_training.training.cross_validate import cross_validate

        cross_validate(source, overrides, config=config, resume=run, dry_run=dry_run, quiet=quiet)
        return
    from classifier_training.training.train import train_since

    train_since(started, source, overrides, config=config, resume=run, dry_run=dry_run, quiet=quiet)


def _is_of_folds(overrides: Overrides, config: Path | None, resume: str | bool) -> bool:
    """Whether a cross-validation is to begin or to be resumed."""
    from classifier_training.config import load_config
    from classifier_training.run.folds_folder import find_folds

    data = load_config(overrides, file=config).data
    if resume is False:
        return data.folds is not None and data.fold is None
    parent = Path(load_config(overrides.only(lambda key: key == "run.dir")).run.dir)
    return find_folds(resume, parent) is not None
