"""The program on the PATH of a shell, in a folder with everything that the pages name."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.cli import ENVIRONMENT, TINY, Finished, WarmProgram, make_shapes

if os.name == "nt":
    collect_ignore_glob = ["test_commands.py"]  # the commands are those of a shell

RUNS = ("A", "B", "NAME", "NEW", "OLD", "shirts")
"""The runs that the pages name; all are copies of one."""

SMALL = (*TINY, "model.pretrained=false", "trainer.max_epochs=1", "trainer.devices=1", "tracking.mlflow=false")
"""Settings put behind those of a page, so that its training takes a second; the page's own are read and checked."""

SHORT_DEMO = (*TINY, "trainer.max_epochs=1", "data.batch_size=64")

CLIENT = """\
import json, os, socket, sys

connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
stream = connection.makefile("rw", encoding="utf-8")
stream.write(json.dumps({{"words": sys.argv[1:], "folder": os.getcwd()}}) + "\\n")
stream.flush()
answer = json.loads(stream.readline())
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
"""


class Shell:
    """Runs lines of a shell in which ``classifier-training`` is the program, already imported.

    Args:
        program: What runs each command, in a process of its own.
        folder: Of the wrapper and its socket.
    """

    def __init__(self, program: WarmProgram, folder: Path) -> None:
        self.program = program
        self._bin = folder / "bin"
        self._bin.mkdir()
        address = str(folder / "socket")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(address)
        self._socket.listen()
        wrapper = self._bin / "classifier-training"
        client = self._bin / "client.py"
        client.write_text(CLIENT.format(address=address), encoding="utf-8")
        call = shlex.join(
            [sys.executable, "-IS", str(client)]
        )  # the first line of a script cannot hold a path with a space
        wrapper.write_text(f'#!/bin/sh\nexec {call} "$@"\n', encoding="utf-8")
        wrapper.chmod(0o755)
        threading.Thread(target=self._serve, daemon=True).start()

    def __call__(self, lines: str, folder: Path) -> Finished:
        """Runs ``lines`` with ``sh -e`` in ``folder``; of ``make demo`` the command behind the set-up."""
        ended = subprocess.run(
            ["sh", "-e", "-c", re.sub(r"^make demo$", "classifier-training demo", lines, flags=re.MULTILINE)],
            cwd=folder,
            env={**ENVIRONMENT, "PATH": f"{self._bin}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        return Finished(ended.returncode, ended.stdout, ended.stderr)

    def python(self, code: str, folder: Path) -> Finished:
        """Runs a program in ``folder``; its trainings get `SMALL` behind their own settings."""
        small = dict(pair.split("=", 1) for pair in SMALL)
        before = (
            "import classifier_training\n"
            "real_train = classifier_training.train\n"
            f"classifier_training.train = lambda *settings, **more: real_train(*settings, {small!r}, **more)\n"
        )
        return self.program.python(before + code, folder=folder)

    def close(self) -> None:
        """Ends the service behind the wrapper."""
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            with connection, connection.makefile("rw", encoding="utf-8") as stream:
                job = json.loads(stream.readline())
                ended = self.program(*_with_small_settings(job["words"]), folder=Path(job["folder"]))
                stream.write(json.dumps({"code": ended.code, "out": ended.out, "err": ended.err}) + "\n")
                stream.flush()


def _with_small_settings(words: list[str]) -> list[str]:
    if words[:1] == ["demo"]:
        return [*words, *SHORT_DEMO]
    if words[:1] != ["train"] or "--resume" in words:
        return words
    needs_weights = "recipe=finetune" in words or "recipe=probe" in words
    small = [*SMALL, *(["model.weights=weights.safetensors"] if needs_weights else [])]
    if any(word.startswith("data.mix_off_epochs=") for word in words):
        small.append("data.mix_off_epochs=0")  # of one epoch, none could be left
    return [*words, *small]


@pytest.fixture(scope="session")
def shell(program: WarmProgram, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    shell = Shell(program, tmp_path_factory.mktemp("docs"))
    yield shell
    shell.close()


@pytest.fixture(scope="session")
def prepared(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the photos, tables, weights and runs that the pages name; tests copy it."""
    folder = tmp_path_factory.mktemp("prepared")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").touch()
    make_shapes(folder / "photos")
    make_shapes(folder / "new-photos", num_per_class=2, seed=1)
    shutil.copy(folder / "photos" / "red" / "00.png", folder / "photo.jpg")
    (folder / "photos.csv").write_text(
        "image,label,patient\n"
        + "".join(f"{path},{path.parent.name},{path.stem}\n" for path in sorted(folder.glob("photos/*/*.png"))),
        encoding="utf-8",
    )
    finished = shell.program("train", "photos", *SMALL, "data.test_fraction=0.3", "run.name=NAME", folder=folder)
    assert finished.code == 0, finished
    for name in RUNS:
        if name != "NAME":
            shutil.copytree(folder / "runs" / "NAME", folder / "runs" / name)
    script = (
        "import timm, safetensors.torch; "
        "safetensors.torch.save_file(timm.create_model('test_byobnet').state_dict(), 'weights.safetensors')"
    )
    assert shell.program.python(script, folder=folder).code == 0
    return folder
