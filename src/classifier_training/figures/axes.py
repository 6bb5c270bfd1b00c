"""The style of the axes of all figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPLIT_COLOURS: Final = {"train": "#4c78a8", "val": "#f58518", "test": "#54a24b"}
"""One colour for each split, in all figures."""


def plain_axes(axes: Axes, title: str, *, grid: str = "y") -> None:
    """Removes the frame from two sides, puts the title on the left, and adds grid lines to ``x``, ``y`` or ``both``.

    Matplotlib would read a ``$`` in the title as maths.
    """
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis=grid, color="#e4e4e4", linewidth=0.8)  # type: ignore[arg-type]  # one of the three


def label_epochs(axes: Axes) -> None:
    """Names the horizontal axis, and labels only whole epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
