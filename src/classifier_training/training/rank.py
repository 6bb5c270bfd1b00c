"""The program of a process that a training has started for one more of its devices.

It reads its job from standard input, which ends when the process that has started it does. The script of the user runs
once, in the first process alone. Ctrl-C reaches all processes of a terminal: the first one lets the others know what to
do about it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import threading

from classifier_training.errors import ClassifierTrainingError, first_line


def main() -> None:
    """Trains, and ends with exit code 0, or that of the error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.readline()
    if not line:
        sys.exit(1)  # the first process has ended, and its message says why
    job = json.loads(line)
    threading.Thread(target=_end_with_the_first_process, daemon=True, name="waits for the first process").start()
    from classifier_training.training.train import train_rank  # here, as it takes seconds, in which either may happen

    rank = f"process {os.environ.get('LOCAL_RANK')} of this machine"
    try:
        for module in job["modules"]:
            importlib.import_module(module)
        train_rank(job)
    except ClassifierTrainingError as error:
        _say(f"{rank}: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # all processes have agreed on it
        sys.exit(130)
    except Exception as error:
        _say(f"{rank}: {type(error).__name__}: {first_line(error)}")
        raise


def _end_with_the_first_process() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1024):  # not sys.stdin, whose lock would be held when the interpreter ends
            pass
    os._exit(1)


def _say(message: str) -> None:
    os.write(2, f"{message}\n".encode(errors="backslashreplace"))


if __name__ == "__main__":
    main()
