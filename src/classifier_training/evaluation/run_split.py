"""The images of a run's own split: found again where they are now, and what has been added to them since."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from classifier_training.data.cache.live import note_use
from classifier_training.data.sources.address import absolute_root, is_pattern, is_remote
from classifier_training.data.sources.detect import list_photos, shown_root
from classifier_training.data.sources.table import Columns
from classifier_training.data.splits.file import read_paths, read_split
from classifier_training.data.splits.recorded import RecordedImages
from classifier_training.errors import DataError
from classifier_training.files.text import exists, name_some
from classifier_training.run.environment import read_environment
from classifier_training.run.folder import RunFolder
from classifier_training.types import Sample, Split

_MAX_BYTES_COMPARED: Final = 500_000_000
"""A split.csv of more bytes, five million images, is not compared with what its folder holds now."""


def data_root(run: RunFolder) -> str | None:
    """The root of the photos of a run."""
    root: str | None = read_environment(run.environment).get("data_root")
    return root


def is_run_split(run: RunFolder | None, photos: object) -> bool:
    """Whether photos are those of a run, so that its own split is scored and no training photo by mistake."""
    if run is None or not run.split.is_file():
        return False
    return photos is None or shown_root(absolute_root(str(photos))) == shown_root(data_root(run) or "")


def run_split(
    run: RunFolder, split: Split | None, columns: Columns | None, cache: Path, root: str | None = None
) -> tuple[Split, RecordedImages]:
    """The images of a split as the run recorded them; None: test where there is one, else validation.

    Images that were fetched or unpacked into the cache and have been removed from it since are restored. Images that
    the root holds besides are named in a warning. ``root`` is that of the run with its credentials; None: it has none.

    Raises:
        DataError: The run has no such split, or its photos are gone.
    """
    split, images = recorded_split(run, split)
    root = root or data_root(run)
    if root is not None:
        _check_there(run, root, images)
        _restore(root, images, columns, cache)
        _warn_of_more(run, root, split, images, columns, cache)
    return split, images


def recorded_split(run: RunFolder, split: Split | None) -> tuple[Split, RecordedImages]:
    """The images of a split as a run recorded them; None: test where there is one, else validation.

    Raises:
        DataError: The run has no such split.
    """
    if split is not None:
        return split, read_split(run.split, split)
    try:
        return "test", read_split(run.split, "test")
    except DataError:
        return "val", read_split(run.split, "val")


def _check_there(run: RunFolder, root: str, images: RecordedImages) -> None:
    is_local = not is_remote(root) and not is_pattern(root)
    if is_local and not exists(root) and not exists(images[0].image.path):
        raise DataError(
            f"the photos of {run.root} are not in {root} any more; if they have moved, say where to:"
            f" classifier-training evaluate {run.root} data.root=FOLDER"
        )


def _restore(root: str, images: Iterable[Sample], columns: Columns | None, cache: Path) -> None:
    files = {Path(sample.image.path) for sample in images}
    in_cache = [file for file in files if file.is_relative_to(cache)]
    if not all(file.exists() for file in in_cache):
        list_photos(root, columns, cache=cache)
    for folder in {file.parent for file in in_cache}:
        note_use(folder, cache)


def _warn_of_more(
    run: RunFolder, root: str, split: Split, images: RecordedImages, columns: Columns | None, cache: Path
) -> None:
    """Of folders and tables on this machine; shards and addresses take long to list."""
    first = images[0].image
    is_slow = is_remote(root) or first.member or Path(first.path).is_relative_to(cache)
    if is_slow or run.split.stat().st_size > _MAX_BYTES_COMPARED:
        return
    # a table needs the names of its columns, and any listing pyarrow: neither may be there for an ONNX file
    with contextlib.suppress(DataError, ImportError, OSError):
        listing = list_photos(root, columns, cache=cache)
        of_split = split if listing.locations else None
        recorded = set(read_paths(run.split, None))
        warn_of(
            [sample.path for sample in listing.samples(of_split) if sample.path not in recorded],
            f"the {split} split of {shown_root(root)}" if listing.locations else shown_root(root),
        )


def warn_of(more: Sequence[str], where: str) -> None:
    """Names images that are not scored because the run did not have them."""
    if more:
        warnings.warn(
            f"{where} holds {len(more)} image(s) that the run did not have, and which are not scored:"
            f" {name_some(more)}; --current scores all that it holds now",
            stacklevel=2,
        )
