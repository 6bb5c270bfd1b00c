"""Exceptions that become warnings, where a failure must not cost the work."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

from classifier_training.errors import is_out_of_memory


@contextlib.contextmanager
def warn_instead_of_raise(what: str) -> Iterator[None]:
    """Turns an exception into a warning of one line: a figure that fails must not cost a training, or a score.

    The block must not wait for other processes: after an exception here, they would wait forever.

    Args:
        what: What the block makes, for the message.
    """
    try:
        yield
    except Exception as error:
        reason = "out of memory" if is_out_of_memory(error) else " ".join(str(error).split()) or type(error).__name__
        warnings.warn(f"{what} could not be made, the rest continues: {reason}", stacklevel=3)
