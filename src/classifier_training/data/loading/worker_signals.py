"""Which signals a loader's worker process handles."""

from __future__ import annotations

import os
import signal
import threading

LEFT_TO_THE_MAIN_PROCESS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)


def leave_signals_to_the_main_process(worker: int) -> None:  # noqa: ARG001 - the loader's signature
    """Ignores what a terminal or a scheduler sends to every process of a job: the main one decides when to stop.

    A worker that is stuck still ends when its loader terminates it; one whose main process is gone, by torch's own
    watchdog. Only Linux reports who sent a signal: elsewhere such a worker is left to the operating system.
    """
    main_process = os.getppid()
    for number in LEFT_TO_THE_MAIN_PROCESS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        # a signal that is waited for must be blocked; the thread inherits that
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_terminated_by, args=(main_process,), daemon=True).start()


def _end_when_terminated_by(main_process: int) -> None:
    """Waits for the main process's own SIGTERM, with which a loader ends a worker that does not answer."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != main_process:
        pass
    os._exit(0)  # as torch ends a worker; the main process would report any other status as a failure
