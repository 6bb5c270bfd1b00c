"""The command ``train``."""

from __future__ import annotations

from typing import Annotated

import typer

from classifier_training.cli.arguments import ConfigFile, Quiet, check_settings, read_settings, split_arguments

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
    quiet: Quiet = False,
) -> None:
    """Train a classifier on a folder of photos, then test and export it.

    Examples:
      classifier-training train photos
      classifier-training train photos model=resnet50 run.name=shirts
      classifier-training train --resume runs/shirts
    """
    paths, settings = split_arguments(arguments)
    path, overrides = paths[0] if paths else None, read_settings(settings)
    if resume:
        from classifier_training.config import load_config

        load_config(overrides)  # mistakes first: what follows takes seconds to import
    else:
        check_settings(overrides, config, path)
    from classifier_training.training.train import train as run_training

    source, run = (None, path or True) if resume else (path, False)
    run_training(source, overrides, config=config, resume=run, dry_run=dry_run, quiet=quiet)
