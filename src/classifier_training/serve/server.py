"""Listening: the socket, the processes, the signals, and the end of both."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from classifier_training.errors import RunError, UserError
from classifier_training.inference.foreign import read_description
from classifier_training.run.folder import RunFolder
from classifier_training.serve.heads import BoundedHeads
from classifier_training.serve.metrics import SHARED_FOLDER
from classifier_training.serve.model import ServedModel
from classifier_training.serve.settings import ServeSettings

_WORKER: Final = "CLASSIFIER_TRAINING_SERVE"
"""The variable that tells a further process what to serve, as JSON."""
_EXTRA_DRAIN_SECONDS: Final = 5
_KEEP_ALIVE_SECONDS: Final = 75
_START_SECONDS: Final = 60
_SWITCH_SECONDS: Final = 0.0005
"""How long a thread may keep Python from the others; the event loop feeds those that decode and compute."""


def serve(path: Path, settings: ServeSettings, say: Callable[[str], None] = lambda _: None) -> None:
    """Serves a model until a signal ends it; what is on its way then is still answered.

    Args:
        path: The ``.onnx`` file.
        settings: Where to listen, and the limits.
        say: Gets the lines that tell where the server listens, and when it is ready.

    Raises:
        UserError: The model cannot be opened, or the address cannot be listened at.
        VerificationError: The model has not passed its self-test.
        KeyboardInterrupt: It was interrupted (SIGINT), and what was on its way is answered.
    """
    with contextlib.closing(listen(settings.host, settings.port)) as listener:
        model = _open(path, settings)
        name = settings.name or model_name(path)
        say(f"serving {name} at {address(listener)} (Ctrl-C stops)")
        if settings.workers == 1:
            _serve_here(model, name, settings, listener, say)
        else:
            model.prove(settings.largest_batch)  # here, where a failure has one line; each process proves its own again
            del model
            _serve_processes(path, name, settings, listener, say)


def model_name(path: Path) -> str:
    """What a file is called where nobody says it: as the run that it was exported from, else as the file."""
    file = path.resolve()
    run = RunFolder(file.parent.parent)
    return run.root.name if file.parent == run.export and run.config.is_file() else path.stem


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address.

    Raises:
        UserError: There is no such address here, or the port is in use or not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, place = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"--host {host!r:.100} is not an address of this machine: {reason.lower()}") from None
    try:
        if os.name != "nt":  # there it would let two programs listen at one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UserError(_why_not(error, host, port)) from None
    return listener


def address(listener: socket.socket) -> str:
    """The address of the page."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def worker() -> FastAPI:
    """The application of a further process, by the variable that its parent has set."""
    from classifier_training.serve.app import create_app
    from classifier_training.serve.service import Service

    told = json.loads(os.environ[_WORKER])
    settings = ServeSettings(**told["settings"])
    return create_app(Service(_open(Path(told["path"]), settings), settings), told["name"])


def _serve_here(
    model: ServedModel, name: str, settings: ServeSettings, listener: socket.socket, say: Callable[[str], None]
) -> None:
    from classifier_training.serve.app import create_app
    from classifier_training.serve.service import Service

    service = Service(model, settings)

    def report() -> None:
        if service.failure is not None:
            server.should_exit = True
        elif model.num_self_test_images:
            say(f"ready: the self-test of {model.num_self_test_images} pictures gave the recorded answers")
        else:
            say("ready: the file has no self-test; a made-up picture gave finite numbers")

    server = _Server(_config(create_app(service, name, report), settings))
    server.run([listener])
    if service.failure is not None:
        raise service.failure
    if server.interrupted:
        raise KeyboardInterrupt


def _serve_processes(
    path: Path, name: str, settings: ServeSettings, listener: socket.socket, say: Callable[[str], None]
) -> None:
    told = {"path": str(path), "name": name, "settings": settings.to_dict()}
    config = _config(f"{__name__}:worker", settings)
    with (
        tempfile.TemporaryDirectory(prefix="classifier-serve-") as counts,
        _environment({_WORKER: json.dumps(told), SHARED_FOLDER: counts}),
    ):
        processes = _Processes(config, [listener], say)
        processes.run()
    if processes.interrupted:
        raise KeyboardInterrupt
    if any(one.exitcode == STARTUP_FAILURE for one in processes.processes):
        raise RunError(f"a process that serves {path} has not started; its message is above")


class _Processes(Multiprocess):
    """Says when all processes are ready.

    Attributes:
        interrupted: Whether SIGINT has ended them.
    """

    interrupted = False

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], say: Callable[[str], None]) -> None:
        super().__init__(config, sockets)
        self._say = say

    def init_processes(self) -> None:
        """Starts them."""
        super().init_processes()
        if all(one.wait_until_ready(_START_SECONDS, self.should_exit) for one in self.processes):
            self._say(f"ready: {len(self.processes)} processes have passed the self-test")

    def handle_int(self) -> None:
        """Ends them."""
        self.interrupted = True
        super().handle_int()


def _config(app: FastAPI | str, settings: ServeSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        http=BoundedHeads,
        workers=settings.workers,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.timeout) + _EXTRA_DRAIN_SECONDS,
    )


def _open(path: Path, settings: ServeSettings) -> ServedModel:
    sys.setswitchinterval(_SWITCH_SECONDS)
    description = read_description(settings.labels, settings.preprocessing)
    return ServedModel(path, settings.max_pixels, settings.threads.of_model, description)


class _Server(uvicorn.Server):
    """Ends well on SIGTERM, where uvicorn's would end by the signal once it has answered everything.

    Attributes:
        interrupted: Whether SIGINT has ended it.
    """

    interrupted = False

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Takes the signals that end a server, within the block."""
        numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGBREAK] if hasattr(signal, "SIGBREAK") else [])]
        earlier = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)
            self.interrupted = signal.SIGINT in self._captured_signals


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    earlier = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _why_not(error: OSError, host: str, port: int) -> str:
    where = f"port {port} of {host}"
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use by another program; name another one: --port {port + 1 if port < 65535 else 0}"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"{where} may be listened at by an administrator only; name one from 1024 on, such as --port 8000"
    return f"cannot listen at {where}: {(error.strerror or str(error)).lower()}"
