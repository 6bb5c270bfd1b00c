"""File and class names that a console cannot show appear as escapes; nothing crashes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.helpers.cli import TINY, Trained, WarmProgram, make_shapes, run_program

ASCII = {"PYTHONIOENCODING": "ascii"}


@pytest.fixture
def german(tmp_path: Path) -> Path:
    """Four photos of each of two classes, one of them named in German."""
    make_shapes(tmp_path / "photos", 4, ["red", "green"])
    (tmp_path / "photos" / "green").rename(tmp_path / "photos" / "grün")
    return tmp_path / "photos"


def test_training_shows_class_names_as_escapes(program: WarmProgram, german: Path, tmp_path: Path) -> None:
    finished = program("train", german, *TINY, "--dry-run", folder=tmp_path, environment=ASCII)

    assert finished.code == 0, finished
    assert "gr\\xfcn" in finished.out


def test_predicting_shows_file_names_as_escapes(german: Path, trained: Trained, tmp_path: Path) -> None:
    finished = run_program("predict", trained.run.onnx, german, folder=tmp_path, environment=ASCII)

    assert finished.code == 0, finished
    assert "photos/gr\\xfcn/00.png" in finished.out


def test_json_is_read_back_exactly(program: WarmProgram, trained: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "grün"
    shutil.copytree(trained.photos, folder)

    finished = program("evaluate", trained.run.onnx, folder, "--json", folder=tmp_path, environment=ASCII)

    assert finished.code == 0, finished
    assert finished.out.isascii()
    assert str(folder) in json.loads(finished.out)["photos"]


def test_an_error_names_the_file(program: WarmProgram, german: Path, tmp_path: Path) -> None:
    finished = program("train", german / "grün" / "blau", folder=tmp_path, environment=ASCII)

    assert finished.code == 2
    assert finished.err.startswith(f"error: there is no folder {german}/gr\\xfcn/blau; ")


@pytest.mark.parametrize("words", [["--help"], ["train", "-h"], ["config", "options"]])
def test_tables_have_plain_borders(words: list[str], tmp_path: Path) -> None:
    finished = run_program(*words, folder=tmp_path, environment=ASCII)

    assert finished.code == 0, finished
    assert "+---" in finished.out
