"""Runs the program in real processes, on photos of coloured squares that a tiny model learns in a second."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
from PIL import Image

from classifier_training.run.folder import RunFolder

SOURCE = Path(__file__).parents[2] / "src"
PROGRAM = (sys.executable, "-m", "classifier_training")
TINY = (
    "model.name=test_byobnet",
    "model.pretrained=false",
    "data.image_size=32",
    "data.batch_size=8",
    "data.num_workers=0",
    "trainer.accelerator=cpu",
    "report.enabled=false",
    "tracking.tensorboard=false",
)
"""Settings of a training that takes less than a second, with BatchNorm in its model; nothing is drawn."""

LOOKED_AT = ("report.enabled=true", "tracking.tensorboard=auto")
"""After `TINY`: settings of a training that draws and tracks, as it does by default."""

SHAPES = {"blue": 2, "green": 1, "red": 0}
"""Classes of `make_shapes`, and the channel of each."""

# one thread: processes beside each other do not fight for cores, and the same sums come out on every machine
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in {"LOCAL_RANK", "NO_COLOR", "FORCE_COLOR"}},
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONPATH": str(SOURCE),
    "TERM": "xterm",
    "COLUMNS": "160",
}

_SERVER = Path(__file__).with_name("warm_server.py").read_text(encoding="utf-8")

_SIGNALLED = """
import os, subprocess, sys
import classifier_training.cli.main

number, place, left, target = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
process = os.getpid()

def count(event, arguments):
    global left
    if event in {"open", "os.link", "os.rename", "os.remove"} and os.getpid() == process:
        left -= any(place in os.fsdecode(one) for one in arguments[:2] if isinstance(one, (str, bytes, os.PathLike)))
        if left == 0:
            left = -1
            if target == "process":
                os.kill(process, number)
            else:  # from outside, as a terminal or a scheduler does it
                subprocess.run(["kill", f"-{number}", "--", f"-{os.getpgid(0)}"], start_new_session=True)

sys.addaudithook(count)
sys.argv = sys.argv[:1] + sys.argv[5:]
classifier_training.cli.main(sys.argv[1:])
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that has ended.

    Attributes:
        code: Its exit status.
        out: Its standard output.
        err: Its standard error.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, all of it one JSON value."""
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished run that tests read and do not change.

    Attributes:
        run: Its folder.
        photos: What it was trained on.
        finished: The process that trained it.
    """

    run: RunFolder
    photos: Path
    finished: Finished


class StartedProcess:
    """A process that runs beside the test.

    Args:
        pid: Its id, and that of its process group.
        stdout: Its whole output.
        wait: Waits for the end of a process, and returns its exit status.
    """

    def __init__(self, pid: int, stdout: IO[str], wait: Callable[[int], int]) -> None:
        self.pid = pid
        self.stdout = stdout
        self._wait = wait
        self._is_running = True

    def end(self) -> Finished:
        """Waits for its end; the output is what has not been read yet."""
        output = self.stdout.read()
        self._is_running = False
        return Finished(self._wait(self.pid), output, "")

    def kill(self) -> None:
        """Kills it with its loader processes, if it is running."""
        if self._is_running:
            os.killpg(self.pid, signal.SIGKILL)
            self._is_running = False
            self._wait(self.pid)


class WarmProgram:
    """The program with its imports done: every call is a process of its own, forked from one that has imported torch.

    The imports take five seconds, most calls less than one.

    Args:
        folder: Where commands run, and where their output is caught.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )

    def __call__(
        self, *words: str | Path, folder: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Finished:
        """Runs one command to its end."""
        return self._run(words, folder, None, environment=environment)

    def python(
        self,
        script: str,
        *words: str | Path,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Finished:
        """Runs a Python script, which finds ``words`` in ``sys.argv[1:]``."""
        return self._run(words, folder, script, environment=environment)

    def signalled(
        self,
        number: int,
        place: str,
        *words: str | Path,
        nth: int = 1,
        whole_group: bool = False,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Finished:
        """Runs one command that gets a signal at a moment that does not depend on the clock.

        Args:
            number: The signal.
            place: Part of a path.
            words: The command.
            nth: Sent when for the n-th time a file with ``place`` in its path is opened, linked, renamed or removed.
            whole_group: Whether its loader processes get it too, as from a terminal or a scheduler.
            folder: Where it runs.
            environment: Variables to set.
        """
        arguments = (str(int(number)), place, str(nth), "group" if whole_group else "process", *words)
        return self._run(arguments, folder, _SIGNALLED, environment=environment)

    def on_screen(self, *words: str | Path) -> str:
        """Runs one command as in a terminal window, and returns all that came on the screen."""
        screen, process_end = os.openpty()
        shown: list[bytes] = []
        reader = threading.Thread(target=_read_screen, args=(screen, shown))
        reader.start()
        try:
            finished = self._run(words, None, None, stdout=os.ttyname(process_end))
        finally:
            os.close(process_end)
            reader.join()
            os.close(screen)
        if finished.code:
            raise AssertionError(str(finished))
        return b"".join(shown).decode()

    @contextmanager
    def started(
        self,
        *words: str | Path,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        script: str | None = None,
    ) -> Iterator[StartedProcess]:
        """Starts one command in a process group of its own, its whole output in one pipe; it ends with the block.

        With a ``script`` in Python, that is run, with ``words`` as its arguments.
        """
        with TemporaryDirectory() as scratch:
            pipe = str(Path(scratch) / "output")
            os.mkfifo(pipe)
            pid = self._start(words, folder, script, pipe, pipe, environment)
            with Path(pipe).open(encoding="utf-8") as output:
                process = StartedProcess(pid, output, self._wait)
                try:
                    yield process
                finally:
                    process.kill()

    @contextmanager
    def together(
        self, *words: str | Path, folder: Path, environments: Iterable[Mapping[str, str]], script: str | None = None
    ) -> Iterator[list[StartedProcess]]:
        """Starts one command in several processes, each with variables of its own, as a launcher does."""
        with ExitStack() as stack:
            yield [
                stack.enter_context(self.started(*words, folder=folder, environment=environment, script=script))
                for environment in environments
            ]

    @contextmanager
    def ranks(
        self,
        *words: str | Path,
        folder: Path,
        script: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[list[StartedProcess]]:
        """Starts one command in two processes that train together, with the variables that Lightning gives to them.

        Args:
            words: The command.
            folder: Where it runs.
            script: A Python script to run instead, with ``words`` as its arguments.
            environment: More variables.
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1]), "NODE_RANK": "0"}
        shared = {**address, **(environment or {}), "WORLD_SIZE": "2"}
        environments = [{**shared, "LOCAL_RANK": rank} for rank in "01"]
        with self.together(*words, folder=folder, environments=environments, script=script) as processes:
            yield processes

    def close(self) -> None:
        """Ends the process that the others are forked from."""
        self._server.kill()
        self._server.wait()
        _pipe(self._server.stdin).close()
        _pipe(self._server.stdout).close()

    def _run(
        self,
        words: Sequence[str | Path],
        folder: Path | None,
        script: str | None,
        stdout: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Finished:
        caught = [self.folder / "stdout.txt", self.folder / "stderr.txt"]
        code = self._wait(self._start(words, folder, script, stdout or str(caught[0]), str(caught[1]), environment))
        out, err = (file.read_text(encoding="utf-8") if file.exists() else "" for file in caught)
        return Finished(code, out, err)

    def _start(
        self,
        words: Sequence[str | Path],
        folder: Path | None,
        script: str | None,
        stdout: str,
        stderr: str,
        environment: Mapping[str, str] | None,
    ) -> int:
        job = {
            "words": [str(word) for word in words],
            "folder": str(folder or self.folder),
            "script": script,
            "environment": dict(environment or {}),
            "stdout": stdout,
            "stderr": stderr,
        }
        return self._ask(job)

    def _wait(self, pid: int) -> int:
        return self._ask({"wait": pid})

    def _ask(self, job: dict[str, Any]) -> int:
        requests, answers = _pipe(self._server.stdin), _pipe(self._server.stdout)
        requests.write(json.dumps(job) + "\n")
        requests.flush()
        return int(answers.readline())


def run_program(*arguments: str | Path, folder: Path, environment: Mapping[str, str] | None = None) -> Finished:
    """Runs one command as a shell would: a fresh Python, everything imported anew."""
    ended = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=folder,
        env={**ENVIRONMENT, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    return Finished(ended.returncode, ended.stdout, ended.stderr)


def read_until(process: StartedProcess, phrase: str) -> str:
    """Reads what a started program says up to the line that holds ``phrase``.

    Raises:
        AssertionError: It ended without saying it.
    """
    said = ""
    for line in process.stdout:
        said += line
        if phrase in line:
            return said
    raise AssertionError(f"the program ended without saying {phrase!r}:\n{said}")


def wait_until(process: StartedProcess, is_so: Callable[[], bool]) -> None:
    """Waits until something holds that a running program brings about.

    Raises:
        AssertionError: The program ended before.
    """
    while not is_so():
        ready, _, _ = select.select([process.stdout], [], [], 0.02)
        if ready and not process.stdout.readline():
            raise AssertionError("the program ended too early")


def make_shapes(root: Path, num_per_class: int = 16, classes: Iterable[str] = SHAPES, seed: int = 0) -> Path:
    """Writes ``root/<class>/<number>.png``: a square in the class's colour somewhere on noise, 40 x 32 pixels.

    Args:
        root: The folder.
        num_per_class: Photos of each class.
        classes: Names out of `SHAPES`; others are dark squares.
        seed: Of the noise and the places.
    """
    random = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(num_per_class):
            pixels = random.integers(0, 120, (32, 40, 3), dtype=np.uint8)
            top, left = int(random.integers(2, 14)), int(random.integers(2, 20))
            square = pixels[top : top + 14, left : left + 14]
            square[:] = 30
            if name in SHAPES:
                square[..., SHAPES[name]] = 230
            Image.fromarray(pixels).save(root / name / f"{number:02d}.png")
    return root


def _read_screen(screen: int, shown: list[bytes]) -> None:
    while True:
        try:
            shown.append(os.read(screen, 4096))
        except OSError:  # the other end is closed
            return


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise TypeError("the process was started without this pipe")
    return stream
