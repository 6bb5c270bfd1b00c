"""The curve of a range test of the learning rate."""

from __future__ import annotations

from pathlib import Path

from classifier_training.figures.axes import plain_axes
from classifier_training.figures.rendering import new_figure, save_figure
from classifier_training.run.lr_range import DIVERGED, RangeTest


def plot_lr_range(path: Path, test: RangeTest, found: float | None) -> None:
    """Plots the loss by the learning rate, with the rate that was chosen and the one from which on the loss rises.

    Args:
        path: The PNG file.
        test: The losses; where one is far above the end of the test, the curve leaves the figure.
        found: The rate that was chosen; None: none was.
    """
    figure = new_figure(7, 4)
    axes = figure.subplots()
    plain_axes(axes, "Range test of the learning rate", grid="both")
    axes.plot(test.rates, test.losses, color="#bab0ac", linewidth=1, label="loss of the batch")
    axes.plot(test.rates, test.smoothed, color="#4c78a8", linewidth=2, label="smoothed")
    if found is not None:
        axes.axvline(found, color="#e45756", linestyle="--", label=f"chosen: {found:g}")
    if test.lowest is not None and test.lowest != test.rates[-1]:
        axes.axvline(test.lowest, color="#72706e", linestyle=":", label=f"lowest loss: {test.lowest:.2g}")
    if test.smoothed:
        low, high = min(*test.losses, *test.smoothed), min(max(test.losses), 1.2 * DIVERGED * min(test.smoothed))
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low) + 1e-6)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)
