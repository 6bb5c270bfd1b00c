"""The style of the axes of all figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPLIT_COLOURS: Final = {"train": "#4c78a8", "val": "#f58518", "test": "#54a24b"}
"""One colour for each split, in all figures."""


def plain_axes(axes: Axes, title: str, *, grid: str = "y") -> None:
    """Removes the frame from two sides, and puts the title on the left.

    Args:
        axes: Where.
        title: Must not contain ``$``, which matplotlib would read as maths.
        grid: ``x``, ``y`` or ``both``: the axes with grid lines.
    """
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis=grid, color="#e4e4e4", linewidth=0.8)  # type: ignore[arg-type]  # one of the three
