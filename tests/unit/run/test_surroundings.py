from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from classifier_training.run.surroundings import is_daemonic, one_device_reason

SOURCE = Path(__file__).parents[3] / "src"
ASK = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\nfrom classifier_training.run.surroundings import *\n"
PRINT = "print(one_device_reason())"
WITHOUT_FILE = "a script without a file (python -c, or from standard input)"


def answer(*words: str, stdin: str = "") -> str:
    ended = subprocess.run([sys.executable, *words], input=stdin, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


@pytest.mark.parametrize(
    ("words", "stdin", "expected"),
    [
        (["-c", ASK + PRINT], "", WITHOUT_FILE),
        (["-"], ASK + PRINT, WITHOUT_FILE),
        ([], ASK + PRINT, WITHOUT_FILE),
        (["-i", "-c", ASK + PRINT], "", "an interactive prompt"),
    ],
)
def test_what_has_no_file_gets_one_device(words: list[str], stdin: str, expected: str) -> None:
    assert answer(*words, stdin=stdin) == expected


def test_a_script_gets_all_devices(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ASK + PRINT)
    assert answer(str(script)) == "None"


def ask() -> tuple[str | None, bool]:
    return one_device_reason(), is_daemonic()


def test_a_child_of_multiprocessing_gets_one_device_and_one_of_a_pool_no_children() -> None:
    assert not is_daemonic()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(ask) == ("a multiprocessing child", True)
