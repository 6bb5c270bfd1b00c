"""How the axes of all figures look: little ink beside the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPLIT_COLOURS: Final = {"train": "#4c78a8", "val": "#f58518", "test": "#54a24b"}
"""One colour for a split, wherever it is drawn."""


def plain_axes(axes: Axes, title: str, *, grid: str = "y") -> None:
    """Takes the frame off two sides, and puts the title on the left.

    Args:
        axes: Where.
        title: What is drawn; must be free of ``$``, which matplotlib would read as maths.
        grid: ``x``, ``y`` or ``both``: across which axis the fine lines go.
    """
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis=grid, color="#e4e4e4", linewidth=0.8)  # type: ignore[arg-type]  # one of the three
