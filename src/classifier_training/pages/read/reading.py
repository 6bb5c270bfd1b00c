"""Reading the files of a run folder, which may be missing, half-written, damaged, of another version, or hostile.

What is wrong with a file becomes one sentence, and the page is made without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from classifier_training.files.credentials import without_credentials
from classifier_training.files.text import plain_text
from classifier_training.run.records import DamagedFileError, read_record

Value = TypeVar("Value")


@dataclass(slots=True)
class Reader:
    """Reads the files of a folder, and keeps one sentence for each that cannot be used.

    Attributes:
        root: The folder.
        missing: The sentences.
    """

    root: Path
    missing: list[str] = field(default_factory=list)

    def record(self, path: Path, kind: type[Value], absent: str | None = None) -> Value | None:
        """The record in a JSON file, see `read_record`; other arguments and the result as of `read`."""
        return self.read(path, lambda file: read_record(file, kind), absent)

    def read(self, path: Path, parse: Callable[[Path], Value], absent: str | None = None) -> Value | None:
        """What ``parse`` returns for a file; None, and a sentence, where it fails.

        Args:
            path: The file.
            parse: Raises `DamagedFileError` or an `OSError`.
            absent: What the page lacks without the file; None: nothing worth a sentence.
        """
        try:
            if path.is_file():
                return parse(path)
        except DamagedFileError as error:
            self.missing.append(f"{self.name(path)} {error}; it is left out")
        except OSError as error:
            self.missing.append(f"{self.name(path)} cannot be read: {error.strerror}; it is left out")
        else:
            if absent is not None:
                self.missing.append(f"{self.name(path)} is missing: {absent}")
        return None

    def name(self, path: Path) -> str:
        """A file's path below the folder."""
        return plain_text(path.relative_to(self.root).as_posix())


def plain_value(value: Any) -> Any:
    """A value of JSON or YAML with plain texts without passwords, and None for numbers that are not finite."""
    if isinstance(value, dict):
        return {plain_text(str(key)): plain_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return without_credentials(plain_text(value)) if isinstance(value, str) else value
