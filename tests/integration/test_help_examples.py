"""Every example of the help runs as it is printed."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.cli import TINY, Trained, WarmProgram, make_shapes
from typer.main import get_command

from classifier_training.cli.main import app


def examples(*path: str) -> list[list[str]]:
    """The arguments of each example in the help of a command."""
    command: Any = get_command(app)
    for name in path:
        command = command.commands[name]
    lines = [line.strip() for line in command.help.splitlines()]
    return [shlex.split(line.partition("|")[0])[1:] for line in lines if line.startswith("classifier-training ")]


@pytest.fixture
def folder(trained: Trained, tmp_path: Path) -> Path:
    shutil.copytree(trained.photos, tmp_path / "new-photos")
    for name in ("shirts", "shirts-2"):
        shutil.copytree(trained.run.root, tmp_path / "runs" / name)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [("evaluate",), ("predict",), ("export",), ("report",), ("compare",), ("config", "show"), ("config", "options")],
    ids=" ".join,
)
def test_examples_with_a_run(program: WarmProgram, folder: Path, path: tuple[str, ...]) -> None:
    for words in examples(*path):
        expanded = [str(found) for word in words for found in (sorted(folder.glob(word)) if "*" in word else [word])]
        finished = program(*expanded, folder=folder)
        assert finished.code == 0 or finished.err.startswith("error: gate failed"), finished  # a model of 2 epochs


@pytest.mark.parametrize("command", ["train", "prepare", "demo"])
def test_examples_with_photos(program: WarmProgram, tmp_path: Path, command: str) -> None:
    make_shapes(tmp_path / "photos", 8)

    for words in examples(command):
        finished = program(*words, *TINY, "trainer.max_epochs=1", folder=tmp_path)  # a model that trains in a second
        assert finished.code == 0, finished
