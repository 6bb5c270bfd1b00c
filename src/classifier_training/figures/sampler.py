"""How often each class is sampled in each epoch, compared with the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.figures.axes import label_epochs, plain_axes
from classifier_training.figures.rendering import new_figure
from classifier_training.figures.text import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CLASSES_APART: Final = 20
"""More classes than this are shown as groups of classes with about the same number of images."""
NUM_GROUPS: Final = 10
_MAX_BARS: Final = 60


def plot_sampled_classes(
    classes: Sequence[str], images: NDArray[np.int64], epochs: Sequence[int], sampled: NDArray[np.int64]
) -> Figure:
    """Plots the images of each class as stacked bars: in the data, and sampled in every epoch.

    Args:
        classes: K class names.
        images: int64 (K,), training images of each class.
        epochs: E epochs, from 0.
        sampled: int64 (E, K), how many images of each class were sampled.
    """
    from matplotlib.patches import Patch

    labels, members = _layers(classes, images)
    held = np.array([images[part].sum() for part in members])
    layers = np.array([sampled[:, part].sum(axis=1) for part in members]).reshape(len(members), len(epochs))
    figure = new_figure(10, max(4.5, 1.4 + 0.21 * len(labels)))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 7])
    colours = _colours(len(labels))
    _stack(left, ["data"], held[:, None], colours)
    if len(epochs) <= _MAX_BARS:
        _stack(right, [epoch + 1 for epoch in epochs], layers, colours)
        right.set_xlim(epochs[0] + 0.4, epochs[-1] + 1.6)
    else:
        right.stackplot([epoch + 1 for epoch in epochs], layers, colors=colours)
        right.set_xlim(epochs[0] + 1, epochs[-1] + 1)
    label_epochs(right)
    plain_axes(left, "in the data")
    plain_axes(right, "sampled in each epoch")
    left.set_ylabel("images")
    left.set_xlim(-0.14, 0.14)
    right.tick_params(left=False)
    patches = [Patch(color=colour, label=label) for colour, label in zip(colours, labels, strict=True)]
    figure.legend(handles=patches[::-1], loc="outside right center", fontsize=8, frameon=False)
    return figure


def _stack(
    axes: Axes, positions: Sequence[str] | Sequence[int], layers: NDArray[np.int64], colours: Sequence[str]
) -> None:
    width = 0.8 * min(1.0, len(positions) / 5)
    below = np.zeros(layers.shape[1], np.int64)
    for layer, colour in zip(layers, colours, strict=True):
        axes.bar(positions, layer, bottom=below, width=width, color=colour, edgecolor="white", linewidth=0.4)
        below = below + layer


def _layers(classes: Sequence[str], images: NDArray[np.int64]) -> tuple[list[str], list[NDArray[np.int64]]]:
    """Labels of the layers, the largest one first, and the positions of their classes."""
    order = np.argsort(-images, kind="stable")
    if len(classes) <= MAX_CLASSES_APART:
        return [shown(classes[position]) for position in order], list(order[:, None])
    parts = np.array_split(order, NUM_GROUPS)
    ends = [(int(images[part].min()), int(images[part].max())) for part in parts]
    spans = [f"{low:,}" if low == high else f"{low:,} to {high:,}" for low, high in ends]
    return [f"{len(part)} classes of {span} images" for part, span in zip(parts, spans, strict=True)], parts


def _colours(count: int) -> list[str]:
    """Colours of which neighbours can be distinguished."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    colours = colormaps["tab10" if count <= 10 else "tab20"]
    return [to_hex(colours(number)) for number in range(count)]
