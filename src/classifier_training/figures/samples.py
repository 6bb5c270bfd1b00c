"""Grids of images with their predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from classifier_training.figures.rendering import new_figure, save_figure
from classifier_training.figures.text import shown

SIDE: Final = 168
"""Side of an image in a grid, pixels."""
MAX_COLUMNS: Final = 6

_GAP: Final = 12
_LINE: Final = 15  # height of a line of text, pixels
_HEAD: Final = 34
_LEFT_TO_RIGHT: Final = "\N{LEFT-TO-RIGHT MARK}"  # a name may be Hebrew, the line is not
_CORRECT, _WRONG, _NEITHER = "#1a7f37", "#cf222e", "#404040"


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One image of a grid.

    Attributes:
        pixels: uint8 (H, W, 3), square; None: the image is gone.
        lines: The text below it, at most three lines.
        is_correct: Whether the prediction is correct; None where there is none.
    """

    pixels: NDArray[np.uint8] | None
    lines: tuple[str, ...]
    is_correct: bool | None = None


def predicted_tile(
    pixels: NDArray[np.uint8] | None, true: str, predicted: str, confidence: float, loss: float | None = None
) -> Tile:
    """An image with its prediction; a sign, the text and the colour show whether it is correct.

    Args:
        pixels: uint8 (S, S, 3); None: the image is gone.
        true: Its class.
        predicted: The predicted class.
        confidence: Probability of the predicted class, in [0, 1].
        loss: Shown where given.
    """
    is_correct = true == predicted
    lines = [f"{_LEFT_TO_RIGHT}{'✓' if is_correct else '✗'} {shown(predicted, 16)}{_LEFT_TO_RIGHT} {confidence:.0%}"]
    if not is_correct:
        lines.append(f"true: {shown(true, 18)}")
    if loss is not None:
        lines.append(f"loss {loss:.2f}")
    return Tile(pixels, tuple(lines), is_correct)


def plot_tiles(path: Path, tiles: Sequence[Tile], *, title: str) -> None:
    """Plots images in rows into a PNG file; without any only the title is shown."""
    columns = max(3, min(MAX_COLUMNS, len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    step = SIDE + _GAP, SIDE + _GAP + _LINE * max((len(tile.lines) for tile in tiles), default=0)
    width, height = _GAP + columns * step[0], _HEAD + max(1, rows) * step[1]
    canvas = np.full((height, width, 3), 255, np.uint8)
    figure = new_figure(width / 100, height / 100)
    figure.set_layout_engine("none")
    figure.patch.set_alpha(0)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.text(_GAP, _HEAD / 2, shown(title, columns * 24), fontsize=10, va="center")
    for number, tile in enumerate(tiles):
        left, top = _GAP + number % columns * step[0], _HEAD + number // columns * step[1]
        colour = {True: _CORRECT, False: _WRONG, None: _NEITHER}[tile.is_correct]
        edge = 1 if tile.is_correct is None else 2
        frame = canvas[top - edge : top + SIDE + edge, left - edge : left + SIDE + edge]
        frame[:] = ImageColor.getrgb(colour)
        canvas[top : top + SIDE, left : left + SIDE] = _square(tile.pixels)
        if tile.pixels is None:
            axes.text(left + SIDE / 2, top + SIDE / 2, "image is gone", size=8, color="0.4", ha="center", va="center")
        for line, text in enumerate(tile.lines):
            axes.text(left, top + SIDE + 4 + (line + 0.5) * _LINE, text, size=8, color=colour, va="center")
    save_figure(figure, path, behind=Image.fromarray(canvas))


def _square(pixels: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """The image in the grid's size; a smaller one is enlarged without being smoothed."""
    if pixels is None:
        return np.full((SIDE, SIDE, 3), 235, np.uint8)
    smaller = max(pixels.shape[:2]) < SIDE
    resampling = Image.Resampling.NEAREST if smaller else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), resampling))
