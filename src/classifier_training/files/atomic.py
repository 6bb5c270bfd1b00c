"""Files that are never half-written."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from classifier_training.files.text import special_kind

_MASK_LOCK: Final = threading.Lock()


@contextlib.contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Gives a temporary path next to ``path`` and renames it to ``path`` when the block ends well.

    A reader, or a process killed at any moment, sees the old file or the whole new one, never a part. When the
    block raises, the temporary file is removed and what was at ``path`` stays.

    Args:
        path: The file.
        durable: Wait until the disk has it, so that this holds when the power fails, too. What can be rebuilt from
            other files need not wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    special = special_kind(path)
    if special is not None:
        raise OSError(errno.EINVAL, special, str(path))  # a rename would put a file in its place
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if durable:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk is reported without any name
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    r"""Writes a UTF-8 text file; arguments as of `atomic_path`.

    Bytes of a file name that are not UTF-8 become ``\udcXX``, which is what JSON reads back as it was.
    """
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Writes an indented JSON file; NaN is refused because JSON has none. Arguments as of `atomic_path`."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", durable=durable)


def _umask() -> int:
    """The process's file mode mask; where the system does not show it, it can only be read by setting it."""
    with contextlib.suppress(OSError):
        found = re.search(rb"^Umask:\s*([0-7]+)$", Path("/proc/self/status").read_bytes(), re.MULTILINE)
        if found is not None:
            return int(found[1], 8)
    with _MASK_LOCK:  # or another thread would read, and put back, what this one has set
        mask = os.umask(0)
        os.umask(mask)
    return mask
