"""The folder of everything that can be rebuilt: indices, images, and copies of remote files."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from classifier_training.errors import DataError

CACHE_VARIABLE: Final = "CLASSIFIER_TRAINING_CACHE_DIR"
_NAME: Final = "classifier-training"
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN: Final = {errno.EROFS, errno.EACCES, errno.EPERM}
_NO_FOLDER: Final = {errno.ENOTDIR, errno.EEXIST}


def cache_folder(setting: str | None = None) -> Path:
    """Where everything that can be rebuilt is kept; the folder need not exist yet.

    Args:
        setting: ``data.cache_dir``; None: the environment variable ``CLASSIFIER_TRAINING_CACHE_DIR``, else the
            user's cache folder on this platform.
    """
    chosen = setting or os.environ.get(CACHE_VARIABLE)
    return Path(os.path.abspath(Path(chosen).expanduser())) if chosen else _user_cache() / _NAME  # noqa: PTH100


def _user_cache() -> Path:
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given) if os.path.isabs(given) else home / ".cache"  # noqa: PTH117 - the standard ignores relative ones


@contextlib.contextmanager
def writing_to(cache: Path) -> Iterator[None]:
    """Turns the trouble of a cache folder that is full, read-only or no folder into one line.

    Raises:
        DataError: The block could not write below ``cache``.
    """
    try:
        yield
    except OSError as error:
        if not is_cache_error(error, cache):
            raise
        trouble = "is full" if error.errno in _FULL else "cannot be written"
        raise DataError(
            f"the cache folder {cache} {trouble}: {error.strerror}; make room, or name another one with data.cache_dir"
            f" or {CACHE_VARIABLE}"
        ) from None


def is_cache_error(error: BaseException, cache: Path) -> bool:
    """Whether an error is the trouble of the cache folder and not of what should be written into it."""
    if not isinstance(error, OSError):
        return False
    if error.errno in _FULL:
        return True
    if error.errno not in _FORBIDDEN | _NO_FOLDER or error.filename is None:
        return False
    file = Path(os.fsdecode(error.filename))
    # a cache folder that cannot be made names one of the folders above it
    return file.is_relative_to(cache) or cache.is_relative_to(file)


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Lets one thread of one process at a time make the file ``path`` with `atomic_path`.

    A process that dies lets the next one in, and what it left half written is removed.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            left.unlink(missing_ok=True)
        yield
