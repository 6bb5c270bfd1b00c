"""The figures of one pass over labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from classifier_training.figures.confusion import plot_confusion
from classifier_training.figures.samples import SIDE, plot_tiles, predicted_tile
from classifier_training.metrics.scores import Predictions
from classifier_training.results.examples import least_certain, worst_errors, write_examples
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.results.thumbnails import DigestOf, Thumbnails, in_threads
from classifier_training.run.folder import ScoredFolder
from classifier_training.types import ImageRecord, Preprocessing
from classifier_training.warn import warn_instead_of_raise

NUM_TILES: Final = 24
"""Most images in one figure."""

Kind = Literal["samples", "worst", "least_certain"]
"""Which figure of images."""

Pixels = Callable[[int], NDArray[np.uint8] | None]
"""Gives an image by its position in the split, in any thread: uint8 (S, S, 3); None where it cannot be read."""


def plot_scored(folder: ScoredFolder, scored: ScoredPass) -> None:
    """Plots all figures of a finished pass, and writes all small images.

    What fails becomes a warning.

    Args:
        folder: Where.
        scored: The pass; where its images or its preprocessing are unknown, only the confusion matrix is plotted.
    """
    with warn_instead_of_raise(f"the confusion matrix in {folder.root}"):
        plot_confusion_figures(folder, scored)
    records, preprocessing = scored.images.records, scored.preprocessing
    if records is None or preprocessing is None:
        return
    digest_of = scored.images.digests.__getitem__ if scored.images.digests else None
    with warn_instead_of_raise(f"the small images in {folder.root}"):
        write_examples(folder, scored, records, preprocessing, digest_of=digest_of)
    with warn_instead_of_raise(f"the figures of images in {folder.root}"):
        plot_example_figures(folder, scored, pixels_of_records(folder, records, preprocessing, digest_of))


def plot_confusion_figures(folder: ScoredFolder, scored: ScoredPass) -> None:
    """Plots the confusion matrix as counts and in percent."""
    confusion, classes, title = scored.scores.cells, scored.classes, scored.title
    plot_confusion(folder.confusion_figure, confusion, classes, normalized=False, title=title)
    plot_confusion(folder.normalized_confusion_figure, confusion, classes, normalized=True, title=title)


def plot_example_figures(folder: ScoredFolder, scored: ScoredPass, pixels: Pixels) -> None:
    """Plots a sample of the images, the worst errors and the least certain images.

    More than `NUM_TILES` of one kind are not plotted, and with ``num_examples`` 0 only the sample is.
    """
    predictions = scored.predictions
    number = min(scored.num_examples, NUM_TILES)
    chosen: dict[Kind, list[int]] = {
        "samples": spread(len(predictions), NUM_TILES),
        "worst": worst_errors(predictions, number),
        "least_certain": least_certain(predictions, number),
    }
    for kind, indices in chosen.items():
        if kind != "samples" and not number:
            figure_of(folder, kind).unlink(missing_ok=True)  # of an earlier epoch, before the setting was changed
            continue
        plot_kind(folder, kind, scored, predictions, zip(indices, in_threads(pixels, indices), strict=True))


def plot_kind(
    folder: ScoredFolder,
    kind: Kind,
    scored: ScoredPass,
    predictions: Predictions,
    images: Iterable[tuple[int, NDArray[np.uint8] | None]],
    among: str = "",
) -> None:
    """Plots one of the three figures.

    Args:
        folder: Where.
        kind: Which figure.
        scored: The pass.
        predictions: Those that the images are shown with.
        images: Positions in these predictions, and pixels, in order.
        among: What the images were chosen from, where not from all.
    """
    classes = scored.classes
    tiles = [
        predicted_tile(
            pixels,
            classes[predictions.labels[index]],
            classes[predictions.predicted[index]],
            float(predictions.confidence[index]),
            float(predictions.losses[index]) if kind == "worst" else None,
        )
        for index, pixels in images
    ]
    what = {"samples": "samples", "worst": "errors, highest loss first", "least_certain": "least certain first"}[kind]
    plot_tiles(figure_of(folder, kind), tiles, title=f"{what if tiles else 'no errors'}{among}, {scored.title}")


def figure_of(folder: ScoredFolder, kind: Kind) -> Path:
    """The path of one of the three figures."""
    figures = {
        "samples": folder.samples_figure,
        "worst": folder.worst_errors_figure,
        "least_certain": folder.least_certain_figure,
    }
    return figures[kind]


def spread(num_images: int, number: int) -> list[int]:
    """Positions evenly over a split, the same in every epoch; its images lie by class."""
    if num_images <= number:
        return list(range(num_images))
    return [int(position) for position in (np.arange(number) + 0.5) * num_images / number]


def pixels_of_records(
    folder: ScoredFolder,
    records: Sequence[ImageRecord],
    preprocessing: Preprocessing,
    digest_of: DigestOf | None = None,
) -> Pixels:
    """Reads images as the model saw them, made smaller; arguments as of `write_examples`."""
    thumbnails = Thumbnails(folder.thumbnails, records, preprocessing, digest_of)
    return lambda index: thumbnails.pixels(index, SIDE)
