"""Where the program was started from, as far as that limits which other processes it may start."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Final

from classifier_training.errors import RunError

_LOADING: Final = "CLASSIFIER_TRAINING_STARTS_LOADERS"
_MISSING_GUARD_EXIT: Final = 78  # configuration error, of sysexits.h

MISSING_GUARD: Final = (
    'the script has no main guard: put what it does under `if __name__ == "__main__":`, because Python imports the'
    " script again in every process that it spawns; or set data.num_workers=0"
)


def one_device_reason() -> str | None:
    """Why a training here takes one device only, to be put behind *started from*; None: it may take all of them.

    The processes of the other devices would outlive an interrupted cell, a closed prompt or the end of the process
    that is the parent of this one.
    """
    if multiprocessing.parent_process() is not None:
        return "a multiprocessing child"
    shell = _ipython_shell()
    if shell is not None:
        return "a notebook" if shell == "ZMQInteractiveShell" else "an interactive prompt"
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return "an interactive prompt"
    file = getattr(sys.modules.get("__main__"), "__file__", None) or "<string>"
    if file.startswith("<") and sys.argv[:1] in (["-c"], ["-"], [""]):
        return "a script without a file (python -c, or from standard input)"
    return None


def is_daemonic() -> bool:
    """Whether Python allows this process no children, as in a ``multiprocessing.Pool`` and in Celery."""
    return bool(getattr(multiprocessing.current_process(), "daemon", False))


def check_main_guard() -> None:
    """Refuses to train while a script without a main guard is imported by a process that was spawned.

    A loader process ends at once: the process that has started it gives the reason, once.

    Raises:
        RunError: This is such a process, of another kind.
    """
    if not getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing itself finds out
        return
    if os.environ.get(_LOADING) == str(os.getppid()):
        os._exit(_MISSING_GUARD_EXIT)
    raise RunError(MISSING_GUARD)


def mark_loader_start() -> None:
    """Lets processes that are spawned from now on know that this one starts loader processes."""
    os.environ[_LOADING] = str(os.getpid())


def _ipython_shell() -> str | None:
    """The class of the IPython shell that runs this code; None: none does."""
    ipython = sys.modules.get("IPython")
    get_ipython = getattr(ipython, "get_ipython", None)
    shell = get_ipython() if callable(get_ipython) else None
    return None if shell is None else type(shell).__name__
