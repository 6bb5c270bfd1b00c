"""The command ``train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from classifier_training.cli.arguments import ConfigFile, Quiet, check_settings, read_settings, split_arguments

if TYPE_CHECKING:
    from classifier_training.config.overrides import Overrides

Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        help="Folder of photos, table file or shards (with --resume: a run); settings, see `config options`.",
        metavar="PHOTOS [KEY=VALUE]...",
    ),
]


def train(
    arguments: Arguments = None,
    config: ConfigFile = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted run: the given one, or the latest in runs/.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the settings and the photos, show the plan, and stop.")
    ] = False,
    refit: Annotated[
        bool, typer.Option("--refit", help="With data.folds=K: train a final model on all photos (data.refit=true).")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier on a folder of photos, then test and export it.

    Examples:
      classifier-training train photos
      classifier-training train photos model=resnet50 run.name=shirts
      classifier-training train photos data.folds=5 --refit
      classifier-training train --resume runs/shirts
    """
    paths, settings = split_arguments(arguments)
    settings = [*settings, "data.refit=true"] if refit else settings
    path, overrides = paths[0] if paths else None, read_settings(settings)
    if resume:
        from classifier_training.config import load_config

        load_config(overrides)  # mistakes first: what follows takes seconds to import
    else:
        check_settings(overrides, config, path)
    source, run = (None, path or True) if resume else (path, False)
    if _is_of_folds(overrides, config, run):
        from classifier_training.training.cross_validate import cross_validate

        cross_validate(source, overrides, config=config, resume=run, dry_run=dry_run, quiet=quiet)
        return
    from classifier_training.training.train import train as run_training

    run_training(source, overrides, config=config, resume=run, dry_run=dry_run, quiet=quiet)


def _is_of_folds(overrides: Overrides, config: Path | None, resume: str | bool) -> bool:
    """Whether a cross-validation is to begin or to be resumed."""
    from classifier_training.config import load_config
    from classifier_training.run.folds_folder import find_folds

    data = load_config(overrides, file=config).data
    if resume is False:
        return data.folds is not None and data.fold is None
    parent = Path(load_config(overrides.only(lambda key: key == "run.dir")).run.dir)
    return find_folds(resume, parent) is not None
