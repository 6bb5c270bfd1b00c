"""Every exception that this package raises on purpose.

    ClassifierTrainingError
    ├── UserError                     the user can fix it: one line on the screen, exit code 2
    │   ├── ConfigError               a setting: unknown, of the wrong type, out of range
    │   ├── DataError                 the photos: no folder, one class only, a missing column
    │   │   ├── BadImageError         one file that cannot be read as an image
    │   │   │   └── LargeImageError   it has more pixels than may be decoded
    │   │   └── MissingFileError      nothing is found at an address
    │   ├── ModelError                the backbone or its weights
    │   ├── CheckpointError           a file that is not a checkpoint of this program, or does not fit
    │   ├── RunError                  a run folder: exists already, is incomplete, is not a run folder
    │   └── OutOfMemoryError          what was asked for needs more memory than the device or the machine has
    │       └── BatchMemoryError      a batch of the training does
    ├── ExportError                   the export failed: exit code 1
    │   └── VerificationError         the exported file does not predict like the model
    ├── DivergedError                 a training has lost its way, or a model answers NaN: exit code 1
    ├── GateError                     a model is not as good as required: exit code 1
    ├── UndoError                     files that were sorted could not all be put back: exit code 1
    └── UnreadableImagesError         a prediction is finished, and some of its images have no label: exit code 1

    SystemExit
    └── TrainingStopped               a scheduler's signal stopped a training, which can be resumed: exit code 0

A message is complete and human-readable: what is wrong, where, what is allowed, what to do. It is the only argument
of an exception, so that exceptions can be pickled and leave a data loader's worker process.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from typing import Final

_OUT_OF_MEMORY: Final = re.compile(
    r"out of memory|not enough memory|(can't|cannot|failed to|unable to) allocate (memory|\d)|alloc_failed|bad_?alloc",
    re.IGNORECASE,
)
"""How CUDA, cuDNN, cuBLAS, MPS, torch's allocator of the CPU, onnxruntime, C++ and numpy say it."""
_NOT_SHOWN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    r"""Text that can be shown on one line as it is: what controls a terminal or hides text becomes an escape.

    Escaped are control characters (C0, C1, line breaks), marks that change the direction of text, invisible characters
    (except the joiners that scripts and emoji need), and bytes of a file name that are not UTF-8.

    Example:
        >>> print(printable("a\x1b[31mred\nb\u202ec"))
        a\x1b[31mred\nb\u202ec
    """
    if text.isprintable():  # nearly always, and much faster
        return text
    return _NOT_SHOWN.sub(lambda found: ascii(found[0])[1:-1], text)


class ClassifierTrainingError(Exception):
    """Base of all exceptions raised on purpose by this package; a name in its message is shown by `printable`."""

    exit_code = 1
    has_lines = False
    """Whether a line break in a message separates faults, and does not come out of a name."""

    def __init__(self, message: str) -> None:
        message = _without_worker_traceback(message)
        lines = message.split("\n") if self.has_lines else [message]
        super().__init__("\n".join(map(printable, lines)))

    @property
    def lines(self) -> list[str]:
        """The message, a line for each fault."""
        return str(self).split("\n")


class UserError(ClassifierTrainingError):
    """A mistake that the user can fix; the command line shows it as plain lines, without a traceback."""

    exit_code = 2


class ConfigError(UserError):
    """A setting is unknown, of the wrong type or out of range; one line for each fault."""

    has_lines = True


class DataError(UserError):
    """The photos or their table cannot be used as they are."""


class BadImageError(DataError):
    """One file cannot be read as an image."""


class LargeImageError(BadImageError):
    """An image has more pixels than may be decoded."""


class MissingFileError(DataError):
    """Nothing is found at an address."""


class ModelError(UserError):
    """The backbone does not exist, refuses the image size, or its weights are missing or do not fit."""


class CheckpointError(UserError):
    """A checkpoint is truncated, foreign, unsafe to load, or of another number of classes."""


class RunError(UserError):
    """A run folder exists already, is incomplete, or is not a run folder."""


class OutOfMemoryError(UserError):
    """What was asked for needs more memory than the device or the machine has."""


class BatchMemoryError(OutOfMemoryError):
    """A batch of the training needs more memory than the device or the machine has."""


class ExportError(ClassifierTrainingError):
    """The model could not be exported."""


class VerificationError(ExportError):
    """The exported file does not predict like the model that was trained."""


class DivergedError(ClassifierTrainingError):
    """Losses, weights or logits of a training are not finite numbers any more."""


class GateError(ClassifierTrainingError):
    """A model is not as good as required; one line for each gate that it failed."""

    has_lines = True


class UndoError(ClassifierTrainingError):
    """Files that were sorted could not all be put back."""


class UnreadableImagesError(ClassifierTrainingError):
    """Images cannot be predicted; the predictions of all others are written."""


class TrainingStopped(SystemExit):
    """A scheduler asked to stop (SIGTERM, SIGUSR1), and the training has: it can be resumed.

    A `SystemExit`, so that a program that does not catch it ends quietly and with exit code 0.

    Attributes:
        signal: The name of the signal.
    """

    def __init__(self, signal: str) -> None:
        super().__init__(0)
        self.signal = signal

    def __str__(self) -> str:
        return f"stopped by {self.signal}"


def _without_worker_traceback(message: str) -> str:
    """The original message of an error from a data loader's worker, which torch wraps into the worker's traceback."""
    if not (message.startswith("Caught ") and "Original Traceback" in message):
        return message
    return message.rstrip().splitlines()[-1].partition(": ")[2] or message


def first_line(error: BaseException) -> str:
    """The first non-empty line of another library's message, or the exception's name if there is none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of any library, or the one that it was raised instead of, says that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, ModelError | CheckpointError | ExportError):  # which report what a library raised
        earlier = error.__cause__ or error.__context__
        if earlier is not None and is_out_of_memory(earlier):
            return True
    elif isinstance(error, ClassifierTrainingError):  # such as an image that is too large for the memory
        return False
    return _OUT_OF_MEMORY.search(str(error)) is not None


@contextlib.contextmanager
def explain_out_of_memory(task: str, advice: str, kind: type[OutOfMemoryError] = OutOfMemoryError) -> Iterator[None]:
    """Turns whatever is raised in a block when memory runs out into one line; other errors pass.

    Args:
        task: What the block does, such as ``training``.
        advice: What to lower, with its present value.
        kind: The error to raise.

    Raises:
        OutOfMemoryError: Memory ran out.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfMemoryError) or not is_out_of_memory(error):
            raise
        amount = re.search(r"(?:tried to allocate|allocate|of size) ([\d.]+ ?(?:[KMGTP]i?B|bytes)?)", str(error))
        asked = f" (it tried to allocate {amount[1].strip()})" if amount else ""
        raise kind(f"out of memory while {task}{asked}; {advice}") from None
