"""Whether photos are the ones that a run began with, wherever they lie now."""

from __future__ import annotations

import os
from collections.abc import Iterator

from classifier_training.data.photos import Photos
from classifier_training.data.sources.detect import shown_root
from classifier_training.data.splits.file import read_digests
from classifier_training.errors import RunError
from classifier_training.files.text import name_some
from classifier_training.run.environment import read_environment
from classifier_training.run.folder import RunFolder


def check_photos(run: RunFolder, photos: Photos) -> None:
    """Refuses photos whose bytes, labels, splits or order have changed: scores before and after could not be compared.

    Photos that have moved as they are, are the same.

    Raises:
        RunError: They are others.
    """
    if not run.environment.is_file():  # killed before the first file was written
        return
    before = read_environment(run.environment)
    same_order = before.get("data_order") in (photos.order, None)
    if before.get("data_fingerprint") == photos.fingerprint and same_order:
        return
    old_root, new_root = before.get("data_root"), photos.root
    has_moved = isinstance(old_root, str) and shown_root(old_root) != new_root
    old = read_digests(run.split) if run.split.is_file() else {}
    new = dict(_digests(photos))
    if has_moved:  # all paths differ
        old, new = _below_common_folder(old), _below_common_folder(new)
    changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    how = {path: "new" if path not in old else "gone" if path not in new else "other content" for path in changed}
    changes = name_some(f"{path} ({change})" for path, change in how.items()) or "labels or splits differ"
    if has_moved:
        raise RunError(
            f"the photos in {shown_root(new_root)} are not those that {run.root} began with in"
            f" {shown_root(str(old_root))}: {changes}; name the folder that they have been moved to, or start a new run"
        )
    raise RunError(f"the photos have changed since {run.root} began: {changes}; restore them, or start a new run")


def _digests(photos: Photos) -> Iterator[tuple[str, str]]:
    for split in photos.rows:
        for record, digest in zip(photos.records(split), photos.digests(split), strict=True):
            yield str(record), digest.tobytes().hex()


def _below_common_folder(digests: dict[str, str]) -> dict[str, str]:
    start = len(os.path.dirname(os.path.commonprefix(list(digests)))) + 1  # noqa: PTH120, RUF071 - of any machine
    return {path[start:]: digest for path, digest in digests.items()}
