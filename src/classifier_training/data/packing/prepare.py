"""`prepare`: packs photos into tar shards that can be trained from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import PIL
from pydantic import ByteSize, TypeAdapter, ValidationError

from classifier_training.config import load_config
from classifier_training.config.arguments import read_overrides
from classifier_training.config.overrides import OverrideLike, Overrides
from classifier_training.config.schema import Config
from classifier_training.data.packing.pack import Packing, pack
from classifier_training.data.photos import Photos, load_photos
from classifier_training.data.sources.address import is_remote
from classifier_training.data.sources.shard_manifest import MANIFEST, Manifest, read_manifest
from classifier_training.errors import ConfigError, DataError
from classifier_training.files.text import exists, is_folder, name_some
from classifier_training.terminal.terminal import Terminal
from classifier_training.types import SPLITS, Decoding, Split

DEFAULT_SHARD_SIZE: Final = "256MB"
PACKING_SETTINGS: Final = (
    "seed",
    "data.root",
    "data.image_column",
    "data.label_column",
    "data.split_column",
    "data.group_column",
    "data.weight_column",
    "data.val_fraction",
    "data.test_fraction",
    "data.on_group_overlap",
    "data.on_bad_image",
    "data.on_missing_label",
    "data.max_bad_fraction",
    "data.max_image_pixels",
    "data.background",
    "data.integer_range",
    "data.cache_dir",
    "data.copies_limit",
)
"""The settings that decide which images are packed, and how; all others change nothing, which a warning says."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was packed.

    Attributes:
        folder: Where the shards are.
        counts: Number of images of each split.
        num_shards: Number of shards.
        num_kept: How many of them already existed.
        num_bytes: Size of all shards.
    """

    folder: Path
    counts: dict[Split, int]
    num_shards: int
    num_kept: int
    num_bytes: int


def prepare(
    photos: str | os.PathLike[str] | None,
    *overrides: OverrideLike,
    to: str | os.PathLike[str],
    size: int | None = None,
    shard_size: str = DEFAULT_SHARD_SIZE,
    quiet: bool = False,
) -> Prepared:
    """Packs photos into tar shards as WebDataset writes them; ``train`` takes the folder instead of the photos.

    The same photos and settings give the same bytes. When it was interrupted and is called again, the finished shards
    are verified and kept.

    Args:
        photos: Any source that `train` takes; None: ``data.root`` of the settings.
        overrides: Settings, such as ``"data.on_bad_image=skip"`` or ``"seed=1"``.
        to: The folder of the shards: new, empty, or of an earlier call with the same photos and settings.
        size: Images whose shorter side is longer than this, pixels, are reduced to it and become JPEGs of quality
            95; all others, and with None all, are packed as they are.
        shard_size: A shard is full when it has as many bytes, such as ``"256MB"`` or ``"1GiB"``.
        quiet: Show warnings and results only.

    Raises:
        UserError: A setting or the photos cannot be used, or the folder holds something else.

    Example:
        >>> prepare("photos", to="shards", size=320)  # doctest: +SKIP
    """
    config = load_config(given := read_overrides(*overrides, photos=photos))
    how = _packing(size, shard_size, config.data.decoding)
    folder = Path(to).expanduser().absolute()
    _refuse_own_source(folder, config.data.root)
    terminal = Terminal(quiet=quiet)
    _warn_of_unused(given, terminal)
    with terminal.capture_warnings():
        prepared = _pack(_load(config, terminal), folder, how, terminal)
    splits = ", ".join(f"{count} {split}" for split, count in prepared.counts.items())
    kept = f" ({prepared.num_kept} of them already existed)" if prepared.num_kept else ""
    terminal.result(f"{splits} images in {prepared.num_shards} shard(s){kept}, written to {folder}")
    return prepared


def _warn_of_unused(given: Overrides, terminal: Terminal) -> None:
    """Those of a training may be given, as for a cache: one command line then serves both."""
    unused = [f"{one.key}={one.shown}" for one in given.settings if one.key not in PACKING_SETTINGS]
    if unused:
        terminal.warn(f"shards hold images for any training, so prepare does not use {name_some(unused)}")


def _pack(photos: Photos, folder: Path, how: Packing, terminal: Terminal) -> Prepared:
    try:
        with terminal.progress("packing", "images") as packing:
            manifest, num_kept = pack(photos, folder, how, _earlier(folder, _made_of(photos, how)), packing)
    except OSError as error:
        raise DataError(
            f"cannot write the shards to {folder}: {error.strerror or error}; finished shards are kept, so run the"
            " same command again when that is repaired"
        ) from None
    return Prepared(
        folder=folder,
        counts={split: len(photos.rows[split]) for split in SPLITS if split in photos.rows},
        num_shards=len(manifest.shards),
        num_kept=num_kept,
        num_bytes=sum(entry.num_bytes for entry in manifest.shards.values()),
    )


def _load(config: Config, terminal: Terminal) -> Photos:
    """Loads the photos, and shows notes and warnings."""
    with (
        terminal.progress("looking for photos", "folders") as scanning,
        terminal.progress("fetching photos", "files") as fetching,
        terminal.progress("checking photos", "files") as checking,
    ):
        photos = load_photos(config.data, config.seed, checking, scanning=scanning, fetching=fetching)
    for note in photos.notes:
        terminal.info(note)
    for warning in (*photos.warnings, *_left_behind(photos)):
        terminal.warn(warning)
    return photos


def _made_of(photos: Photos, packing: Packing) -> dict[str, Any]:
    """What decides the bytes of the shards."""
    made_of: dict[str, Any] = {
        "photos": photos.fingerprint,
        "order": photos.order,
        "shard_size": packing.shard_bytes,
        "size": packing.short_side,
    }
    # another version may write other bytes
    return made_of if packing.short_side is None else {**made_of, "pillow": PIL.__version__}


def _earlier(folder: Path, made_of: dict[str, Any]) -> Manifest:
    """What an earlier call has finished in a folder.

    Raises:
        DataError: The folder holds something else.
    """
    if not exists(folder):
        return Manifest(made_of)
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; name a folder for the shards")
    unfinished = list(folder.glob(".*.tmp"))
    if not (folder / MANIFEST).is_file():
        if len(list(folder.iterdir())) > len(unfinished):
            raise DataError(f"{folder} holds something else and is left as it is; name a new folder for the shards")
        return Manifest(made_of)
    manifest = read_manifest(folder / MANIFEST)
    for name, value in made_of.items():
        if manifest.made_of.get(name) != value:
            reason = "other photos, labels or splits" if name in {"photos", "order"} else f"another {name}"
            raise DataError(f"{folder} holds shards of {reason}; remove it, or name another folder")
    for path in unfinished:
        path.unlink()
    return manifest


def _refuse_own_source(folder: Path, root: str | None) -> None:
    """Shards within the photos would be taken for photos the next time."""
    if root is None or is_remote(root):
        return
    source = Path(root).expanduser().absolute()
    if folder == source or (is_folder(source) and folder.is_relative_to(source)):
        raise DataError(f"the shards cannot be written to {folder}, which lies in the photos; name a folder elsewhere")


def _left_behind(photos: Photos) -> list[str]:
    """What the shards do not hold."""
    columns = photos.index.schema.names
    lost = [
        description for name, description in (("group", "groups"), ("weight", "sampling weights")) if name in columns
    ]
    bad = [f"{len(photos.bad)} unreadable file(s) left out: {photos.bad[0].path}, …"] if photos.bad else []
    return [*bad, *(f"{name} are not packed: shards hold images and class names only" for name in lost)]


def _packing(size: int | None, shard_size: str, decoding: Decoding) -> Packing:
    if size is not None and size < 1:
        raise ConfigError(f"size={size} is not a length in pixels; give 1 or more")
    try:
        num_bytes = int(TypeAdapter(ByteSize).validate_python(shard_size))
    except ValidationError:
        num_bytes = 0
    if num_bytes < 1:
        raise ConfigError(f"shard_size={shard_size!r} is not a number of bytes; give one such as 256MB or 1GiB")
    return Packing(size, num_bytes, decoding)
