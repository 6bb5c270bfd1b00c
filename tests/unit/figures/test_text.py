from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.unit.figures.nasty_names import NASTY_NAMES

from classifier_training.figures.rendering import new_figure, save_figure
from classifier_training.figures.text import NAME_LENGTH, shortened, shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat", "cat"),
        ("a\nb\r\tc", "a b c"),
        ("  ", "(no name)"),
        ("", "(no name)"),
        ("\x1b[31mred", "[31mred"),
        ("\u202edesrever\u200f", "desrever"),
        ("caf\udce9", "caf\N{REPLACEMENT CHARACTER}"),
        ("$x$", r"\$x\$"),
        ("x" * 300, "x" * 16 + "…" + "x" * 7),
    ],
)
def test_a_name_is_one_short_line_of_visible_letters(name: str, expected: str) -> None:
    assert shown(name) == expected


@pytest.mark.parametrize("length", [3, 4, 10, 24])
def test_a_long_name_keeps_its_beginning_and_its_end(length: int) -> None:
    short = shortened("0123456789" * 30, length)
    assert len(short) == length
    assert short[0] == "0"
    assert short[-1] in "9…"


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_matplotlib_draws_every_name(name: str, tmp_path: Path) -> None:
    figure = new_figure(3, 1)
    text = figure.text(0.1, 0.5, shown(name))
    save_figure(figure, tmp_path / "name.png")
    assert len(text.get_text().replace("\\", "")) <= NAME_LENGTH
    with Image.open(tmp_path / "name.png") as image:
        assert np.asarray(image.convert("L")).min() < 128, "nothing was drawn"
