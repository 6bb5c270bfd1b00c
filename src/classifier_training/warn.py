"""Exceptions that become warnings, where a failure must not cost the work."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def warn_instead_of_raise(what: str) -> Iterator[None]:
    """Turns an exception into a warning of one line: a figure that fails must not cost a training, or a score.

    Nothing that waits for other processes may be in the block: they would wait for ever.

    Args:
        what: What the block makes, for a person.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        warnings.warn(f"{what} could not be made, all else goes on: {reason}", stacklevel=3)
