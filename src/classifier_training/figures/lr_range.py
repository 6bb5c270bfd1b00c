"""The curve of a range test of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from classifier_training.figures.axes import plain_axes
from classifier_training.figures.rendering import new_figure, save_figure


def plot_lr_range(
    path: Path, rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], found: float | None
) -> None:
    """Plots the loss by the learning rate, and marks the rate that was chosen; None: none was."""
    figure = new_figure(7, 4)
    axes = figure.subplots()
    plain_axes(axes, "Range test of the learning rate", grid="both")
    axes.plot(rates, losses, color="#bab0ac", linewidth=1, label="loss of the batch")
    axes.plot(rates, smoothed, color="#4c78a8", linewidth=2, label="smoothed")
    if found is not None:
        axes.axvline(found, color="#e45756", linestyle="--", label=f"chosen: {found:g}")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)
