from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.unit.figures.nasty_names import NASTY_NAMES

from classifier_training.figures.samples import SIDE, Tile, plot_tiles, predicted_tile

RED, GREEN = (207, 34, 46), (26, 127, 55)


def plain(value: int = 120, side: int = 64) -> NDArray[np.uint8]:
    return np.full((side, side, 3), value, np.uint8)


def drawn(path: Path, *tiles: Tile) -> NDArray[np.uint8]:
    plot_tiles(path, tiles, title="val")
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def has_colour(pixels: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(pixels.astype(int) - colour).max(axis=2) < 12).sum() > SIDE)


def test_right_and_wrong_differ_in_sign_in_words_and_in_colour(tmp_path: Path) -> None:
    right, wrong = predicted_tile(plain(), "cat", "cat", 0.971), predicted_tile(plain(), "cat", "dog", 0.5, 1.234)
    assert [line.replace("\N{LEFT-TO-RIGHT MARK}", "") for line in right.lines] == ["✓ cat 97%"]
    assert [line.replace("\N{LEFT-TO-RIGHT MARK}", "") for line in wrong.lines] == [
        "✗ dog 50%",
        "true: cat",
        "loss 1.23",
    ]
    with_right, with_wrong = drawn(tmp_path / "right.png", right), drawn(tmp_path / "wrong.png", wrong)
    assert has_colour(with_right, GREEN)
    assert not has_colour(with_right, RED)
    assert has_colour(with_wrong, RED)
    assert not has_colour(with_wrong, GREEN)


@pytest.mark.parametrize("side", [1, 32, 112, 224, 500])
def test_an_image_of_any_size_fills_its_tile(side: int, tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "grid.png", Tile(plain(200, side), ("cat",)))
    assert (np.abs(pixels.astype(int) - 200).max(axis=2) < 3).sum() > (SIDE - 6) ** 2


def test_a_small_image_is_enlarged_without_smoothing(tmp_path: Path) -> None:
    board = np.kron(np.indices((4, 4)).sum(axis=0) % 2 * 255, np.ones((1, 1)))[..., None].repeat(3, 2).astype(np.uint8)
    pixels = drawn(tmp_path / "grid.png", Tile(board, ()))[50 : 50 + SIDE // 2, 30 : 30 + SIDE // 2, 0]
    assert np.isin(pixels, (0, 255)).mean() > 0.97


@pytest.mark.parametrize(("number", "columns", "rows"), [(1, 3, 1), (4, 4, 1), (6, 6, 1), (7, 6, 2), (24, 6, 4)])
def test_images_are_in_rows(number: int, columns: int, rows: int, tmp_path: Path) -> None:
    height, width = drawn(tmp_path / "grid.png", *[Tile(plain(), ("cat",))] * number).shape[:2]
    assert columns * SIDE < width < (columns + 1) * SIDE
    assert rows * SIDE < height < (rows + 1) * SIDE


def test_a_figure_without_images_and_with_one_that_is_gone(tmp_path: Path) -> None:
    assert drawn(tmp_path / "none.png").min() < 100, "not even a title"
    gone = drawn(tmp_path / "gone.png", predicted_tile(None, "cat", "dog", 0.5))
    assert has_colour(gone, (235, 235, 235))


def test_every_name_can_be_plotted(tmp_path: Path) -> None:
    tiles = [
        predicted_tile(plain(), name, other, 1.0, float("inf")) for name in NASTY_NAMES[:4] for other in NASTY_NAMES
    ]
    assert len(drawn(tmp_path / "grid.png", *tiles)) > 8 * SIDE
