"""The command ``prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from classifier_training.cli.arguments import Quiet, check_settings, read_settings, split_arguments
from classifier_training.errors import ConfigError

if TYPE_CHECKING:
    from classifier_training.config.overrides import Overrides


def prepare(
    arguments: Annotated[list[str], typer.Argument(help="Photos, and settings.", metavar="PHOTOS [KEY=VALUE]...")],
    to: Annotated[Path, typer.Option("--to", help="Folder to write, or to finish.", metavar="FOLDER")],
    size: Annotated[
        int | None, typer.Option(min=1, help="Reduce images to this shorter side, in pixels, and store them as JPEG.")
    ] = None,
    shard_size: Annotated[str | None, typer.Option(help="Such as 1GiB; default: 256MB.", metavar="SIZE")] = None,
    form: Annotated[
        Literal["tar", "cache"], typer.Option("--format", help="Tar shards, or the image cache of a training.")
    ] = "tar",
    quiet: Quiet = False,
) -> None:
    """Pack photos into tar shards to train from, or fill the image cache before training.

    Examples:
      classifier-training prepare photos --to shards --size 320
      classifier-training prepare photos --to cache --format cache
    """
    paths, settings = split_arguments(arguments)
    overrides = read_settings(settings)
    photos = paths[0] if paths else None
    check_settings(overrides, None, photos)
    if form == "cache":
        if size is not None or shard_size is not None:
            raise ConfigError("--size and --shard-size are for shards; a cache keeps images of data.cache_size")
        _prepare_cache(photos, overrides, to, quiet=quiet)
        return
    from classifier_training.data.packing.prepare import DEFAULT_SHARD_SIZE
    from classifier_training.data.packing.prepare import prepare as run_preparation

    run_preparation(photos, overrides, to=to, size=size, shard_size=shard_size or DEFAULT_SHARD_SIZE, quiet=quiet)


def _prepare_cache(photos: str | None, overrides: Overrides, to: Path, *, quiet: bool) -> None:
    from classifier_training.terminal.terminal import Terminal
    from classifier_training.training.fill_cache import prepare_cache

    terminal = Terminal(quiet=quiet)
    with (
        terminal.capture_warnings(),
        terminal.progress("checking photos", "files") as checking,
        terminal.progress("storing", "images") as storing,
    ):
        prepared = prepare_cache(photos, overrides, to=to, checking=checking, storing=storing)
    for message in prepared.messages:
        terminal.info(message)
    for message in prepared.warnings:
        terminal.warn(message)
    terminal.result(
        f"{prepared.num_stored} of {prepared.num_images} images ({prepared.num_made} new) written to"
        f" {prepared.folder}; train with data.cache_dir={prepared.folder}"
    )
