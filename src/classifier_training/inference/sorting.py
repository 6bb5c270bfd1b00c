"""Copies or moves images into a folder for each predicted class, with a log from which it can be undone."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import os
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from classifier_training.errors import UserError
from classifier_training.files.atomic import atomic_path
from classifier_training.files.text import is_file, why_no_file
from classifier_training.inference.listing import is_address
from classifier_training.inference.rows import Row, json_line

Mode = Literal["copy", "move"]
LOG_NAMES: Final[Mapping[Mode, str]] = {"copy": "copied.jsonl", "move": "moved.jsonl"}
_NOT_IN_NAMES: Final = re.compile(r'[%/\\:*?"<>|\x00-\x1f\ud800-\udc7f\udd00-\udfff]|^\.|[. ]$')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)


def class_folder(label: str) -> str:
    """The folder of a class: its name, with ``%2F`` for a slash and so on, as a name may be any text.

    Example:
        >>> class_folder("shirts"), class_folder("../odd")
        ('shirts', '%2E.%2Fodd')
    """
    name = _NOT_IN_NAMES.sub(lambda found: f"%{ord(found[0]):02X}", label)
    return f"%{ord(name[0]):02X}{name[1:]}" if _RESERVED.fullmatch(name) else name or "%"


@dataclass(frozen=True, slots=True)
class Sorter:
    """Puts files into the folders of their classes; started again, it goes on where it was stopped.

    Attributes:
        root: Where the folders of the classes are.
        mode: Whether the files are copied or moved.
    """

    root: Path
    mode: Mode

    @property
    def log(self) -> Path:
        """A line of JSON for each file, where it was and where it is, written before the file is touched."""
        return self.root / f"{LOG_NAMES[self.mode]}.partial"

    @property
    def has_moved(self) -> bool:
        """Whether files of an interrupted command may be elsewhere already."""
        return self.mode == "move" and self.log.exists()

    def sort(self, rows: Iterable[Row], warn: Callable[[str], None]) -> Counter[str]:
        """Sorts the files of rows with a label that do not abstain and are not unknown.

        A file of the same name is never overwritten: the second ``a.jpg`` becomes ``a-2.jpg``.

        Returns:
            The number of files of each class.

        Raises:
            OSError: A file cannot be written.
        """
        counts = Counter[str]()
        self.root.mkdir(parents=True, exist_ok=True)
        done = _Logged(self.log)
        for row in rows:
            if row["label"] is None or row.get("abstain") or row.get("unknown"):
                continue
            source = Path(row["file"]).absolute()
            target = done.target_of(source)
            reason = self._why_not(row["file"], source) if target is None else None
            if reason is not None:
                warn(f"not sorted, as it {reason}: {row['file']}")
                continue
            if target is None:
                done.check_end(source)
                target = self._free_target(source, class_folder(row["label"]))
                self._note(source, target)
            self._put(source, target)
            counts[row["label"]] += 1
        return counts

    def finish(self) -> Path:
        """Gives the log its name, with a number where there are logs already."""
        log, number = self.root / LOG_NAMES[self.mode], 1
        while os.path.lexists(log):
            number += 1
            log = self.root / LOG_NAMES[self.mode].replace(".", f"-{number}.")
        if not self.log.exists():
            self.log.touch()
        return self.log.rename(log)

    def _why_not(self, name: str, source: Path) -> str | None:
        """Why a file stays where it is; None: it does not."""
        if not is_file(source):
            return "was named by an address" if is_address(name) else "is no longer there"
        is_bound = self.mode == "move" and source.is_symlink() and not source.readlink().is_absolute()
        return "is a relative link, which points to nothing elsewhere" if is_bound else None

    def _free_target(self, source: Path, folder: str) -> Path:
        place = (self.root / folder).absolute()
        place.mkdir(parents=True, exist_ok=True)
        target, number = place / source.name, 1
        while os.path.lexists(target) and not (self.mode == "move" and target == source):
            number += 1
            target = place / f"{source.stem}-{number}{source.suffix}"
        return target

    def _note(self, source: Path, target: Path) -> None:
        with self.log.open("ab") as file:
            file.write(json_line({"done": self.mode, "from": str(source), "to": str(target)}))
            file.flush()
            os.fsync(file.fileno())

    def _put(self, source: Path, target: Path) -> None:
        """Copies or moves a file, unless that was done before."""
        if self.mode == "copy":
            if not os.path.lexists(target):
                _copy(source, target)
        elif source != target and is_file(source):
            _move(source, target)


def undo(log: Path, warn: Callable[[str], None]) -> tuple[int, int]:
    """Moves files back, or removes copies that are still what was copied; can be repeated.

    Returns:
        How many files are as they were before, and how many had to be left, each with a warning.

    Raises:
        UserError: It is not a log of `Sorter`.
        OSError: A file cannot be moved or removed.
    """
    entries = list(_read_log(log))
    num_left, folders = 0, set[Path]()
    for entry in reversed(entries):
        source, target = Path(entry["from"]), Path(entry["to"])
        folders.add(target.parent)
        if source == target or not os.path.lexists(target):
            reason = None if os.path.lexists(source) else "neither it nor the file that it came from is there"
        elif entry["done"] == "copy":
            is_same = is_file(source) and filecmp.cmp(source, target, shallow=False)
            is_same = is_same and source.resolve() != target.resolve()  # a link to the copy is no other file
            reason = None if is_same else "it is no longer the same as the file that it was copied from"
            if is_same:
                target.unlink()
        elif os.path.lexists(source):
            reason = f"there is another file at {source}"
        else:
            source.parent.mkdir(parents=True, exist_ok=True)
            _move(target, source)
            reason = None
        if reason is not None:
            num_left += 1
            warn(f"{target} is left: {reason}")
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()
    if not num_left:
        log.unlink()
    return len(entries) - num_left, num_left


class _Logged:
    """What an earlier start of the same command has sorted, in order."""

    def __init__(self, log: Path) -> None:
        self._log = log
        if log.exists():
            _cut_last_line(log)
        self._entries = _read_log(log) if log.exists() else iter(())
        self._next = next(self._entries, None)

    def target_of(self, source: Path) -> Path | None:
        """Where the next file was sorted to; None: it was not."""
        if self._next is None or self._next["from"] != str(source):
            return None
        target, self._next = Path(self._next["to"]), next(self._entries, None)
        return target

    def check_end(self, source: Path) -> None:
        """Refuses a log that goes on with another file than this."""
        if self._next is not None:
            raise UserError(
                f"{self._log} is the log of another command that was interrupted, and names {self._next['from']}"
                f" and not {source}; repeat that command, or undo it: classifier-training predict --undo"
                f" {shlex.quote(str(self._log))}"
            )


def _read_log(log: Path) -> Iterator[dict[str, str]]:
    """The entries of a log; a last line that is not whole was never acted on."""
    if not is_file(log):
        raise UserError(why_no_file(log, f"there is no log {log}"))
    with log.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                entry = json.loads(line)
                is_ours = entry["done"] in LOG_NAMES and {type(entry["from"]), type(entry["to"])} == {str}
            except (ValueError, KeyError, TypeError, RecursionError):
                is_ours = False
            if not is_ours:
                raise UserError(f"{log} is not a log of --copy-to or --move-to: line {number} is {line[:80]!r}")
            yield entry


def _cut_last_line(log: Path) -> None:
    """Removes a last line that is not whole, so that others can follow."""
    with log.open("r+b") as file:
        whole = 0
        for line in file:
            whole += len(line) if line.endswith(b"\n") else 0
        file.truncate(whole)


def _copy(source: Path, target: Path, *, durable: bool = False) -> None:
    with atomic_path(target, durable=durable) as temporary:
        shutil.copy2(source, temporary)


def _move(source: Path, target: Path) -> None:
    """Moves a file, and overwrites none."""
    if os.path.lexists(target):
        if not filecmp.cmp(source, target, shallow=False):
            raise FileExistsError(errno.EEXIST, "another file has appeared there", str(target))
        source.unlink()  # it was copied from another disk when the command was stopped
        return
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target, durable=True)
        source.unlink()
