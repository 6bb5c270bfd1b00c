"""What a long `predict` has written so far, so that the same command can go on after a crash.

``labels.csv.partial`` lies beside the output until that is whole. Its first line names the model and what is written;
then follows a line of JSON for each image, a chunk at a time; ``{"complete": true}`` is the end. A chunk is what the
model computes at once, and what was written of a chunk that is not whole is computed again: so the files at the end
have the same bytes whenever the command was stopped.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import DataError, RunError
from classifier_training.inference.feature_files import RawFeatures
from classifier_training.inference.listing import Image
from classifier_training.inference.rows import Row, json_line

_END: Final = b'{"complete": true}\n'


class Journal:
    """The rows of one command; opening it takes up those of an earlier one that did the same.

    Args:
        path: The file.
        head: What the rows depend on besides the images: plain values.
        chunk_size: Images in a chunk.
        features: Their features, a row each; None: these are not written.
        overwrite: Start again where the file holds other rows.

    Attributes:
        num_done: Images whose rows are written.
        is_complete: Whether these are all.

    Raises:
        RunError: The file holds the rows of another command.
    """

    def __init__(
        self,
        path: Path,
        head: dict[str, Any],
        chunk_size: int,
        *,
        features: RawFeatures | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = path
        self.features = features
        self.num_done = 0
        self.is_complete = False
        self._head = json_line({"predict": 1, **head})
        self._end = len(self._head)
        if self._is_ours(overwrite=overwrite):
            self._read(chunk_size)
        self._file = path.open("r+b" if self.num_done or self.is_complete else "w+b", buffering=0)
        if not (self.num_done or self.is_complete):
            self._write(self._head)
        self._file.truncate(self._end)
        self._file.seek(self._end)
        if features is not None:
            features.keep(self.num_done)

    def skip_done(self, images: Iterator[Image]) -> None:
        """Takes the images from a list whose rows are written.

        Raises:
            RunError: The list has others.
        """
        for number, row in enumerate(self.rows(), start=1):
            image = next(images, None)
            if image is None or str(image) != row["file"]:
                there = "missing" if image is None else str(image)
                raise RunError(
                    f"{self.path} cannot be continued: image {number} was {row['file']} and is {there} now; remove it"
                    " to start again"
                )

    def check_complete(self, images: Iterator[Image]) -> None:
        """Refuses a list of other images than those of a complete file.

        Raises:
            RunError: The list has others.
        """
        self.skip_done(images)
        further = next(images, None)
        if further is not None:
            raise self._others(further)

    def check_rest(self, images: Iterator[Image]) -> None:
        """The same where some of the images are moved already, so that the list has only those that are left.

        Raises:
            RunError: The list has others.
        """
        rows = self.rows()
        with contextlib.suppress(DataError):  # what was named is moved
            for image in images:
                if not any(row["file"] == str(image) for row in rows):
                    raise self._others(image)

    def append(self, rows: Sequence[Row], features: Sequence[NDArray[np.float32] | None] = ()) -> None:
        """Writes the rows of a chunk, and its features if these are written.

        Raises:
            OSError: They cannot be written.
        """
        if self.features is not None:  # first, so that each row has its features
            self.features.append(features)
        self._write(b"".join(map(json_line, rows)))
        self.num_done += len(rows)

    def complete(self) -> None:
        """Marks that these are the rows of all images."""
        if not self.is_complete:
            self._write(_END)
            self.is_complete = True

    def rows(self) -> Iterator[Row]:
        """The rows, in order."""
        with self.path.open("rb") as file:
            file.readline()
            for _ in range(self.num_done):
                yield json.loads(file.readline())

    def close(self) -> None:
        """Closes the file; it stays."""
        self._file.close()

    def remove(self) -> None:
        """Closes and removes the files."""
        self.close()
        self.path.unlink(missing_ok=True)
        if self.features is not None:
            self.features.path.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            error.filename = str(self.path)  # a full disk is reported without any name
            raise

    def _others(self, image: Image) -> RunError:
        return RunError(
            f"{self.path} is of an interrupted command with other images, without {image}; repeat that command to"
            " finish it, or remove the file to start again"
        )

    def _is_ours(self, *, overwrite: bool) -> bool:
        if not self.path.exists():
            return False
        with self.path.open("rb") as file:
            head = file.readline()
        if head != self._head and not overwrite and not self._head.startswith(head):  # a head may be cut, too
            raise RunError(
                f"{self.path} holds the rows of an unfinished command with another model or other options; repeat that"
                " command to finish it, or add --overwrite to start again"
            )
        return head == self._head

    def _read(self, chunk_size: int) -> None:
        """Finds where the last whole chunk ends."""
        num_rows, position = 0, len(self._head)
        with self.path.open("rb") as file:
            file.readline()
            for line in file:
                if line == _END:
                    self.num_done, self._end, self.is_complete = num_rows, position + len(_END), True
                    break
                if not line.endswith(b"\n"):
                    break
                num_rows, position = num_rows + 1, position + len(line)
                if num_rows % chunk_size == 0:
                    self.num_done, self._end = num_rows, position
        if self.features is not None and self.features.num_rows < self.num_done:  # they were removed
            self.num_done, self._end, self.is_complete = 0, len(self._head), False


def is_complete(path: Path) -> bool:
    """Whether a file is a journal of all images, so that only the last step of its command is missing."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_END)))
        return file.read() == _END
