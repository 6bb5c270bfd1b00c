"""The figures beside the scores of one pass over labelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from classifier_training.figures.confusion import plot_confusion
from classifier_training.figures.samples import SIDE, Tile, plot_tiles, predicted_tile
from classifier_training.metrics.scores import Predictions, Scores
from classifier_training.results.examples import Cam, least_certain, worst_errors, write_examples
from classifier_training.results.threads import in_threads
from classifier_training.results.thumbnails import Thumbnails
from classifier_training.run.folder import ScoredFolder
from classifier_training.types import ImageRecord, Preprocessing
from classifier_training.warn import warn_instead_of_raise

NUM_TILES: Final = 24
"""Most images in one figure."""

Kind = Literal["samples", "worst", "least_certain"]
"""Which figure of images."""

Pixels = Callable[[int], NDArray[np.uint8] | None]
"""Gives an image by its position in the split, in any thread: uint8 (S, S, 3); None where it is gone."""


def plot_examples(
    folder: ScoredFolder,
    scores: Scores,
    predictions: Predictions,
    records: Sequence[ImageRecord],
    classes: Sequence[str],
    preprocessing: Preprocessing,
    *,
    description: str,
    num_pictures: int = NUM_TILES,
    epoch: int | None = None,
    cam: Cam | None = None,
    max_pixels: int | None = None,
) -> None:
    """Draws all figures of a pass that is over, and writes all small images.

    What fails becomes a warning.

    Args:
        folder: Where.
        scores: Of N images.
        predictions: What was said of each.
        records: Where the N images are.
        classes: K class names, in class order.
        preprocessing: How the model saw the images.
        description: Which images these are, for a person.
        num_pictures: How many of the worst errors and of the least certain images are shown.
        epoch: After which epoch the predictions were made, from 0.
        cam: What the model looked at, for the worst errors; None: that is not shown.
        max_pixels: An image with more is taken for unreadable; None: as Pillow does.
    """
    title = f"{description}: top-1 {scores.top1:.2%} of {scores.num_images} images"
    with warn_instead_of_raise(f"the confusion matrix in {folder.root}"):
        plot_confusion_figures(folder, scores.confusion, classes, title=title)
    with warn_instead_of_raise(f"the small images in {folder.root}"):
        write_examples(
            folder,
            predictions,
            records,
            classes,
            preprocessing,
            num_pictures=num_pictures,
            epoch=epoch,
            cam=cam,
            max_pixels=max_pixels,
        )
    with warn_instead_of_raise(f"the figures of images in {folder.root}"):
        pixels = pixels_of_records(folder, records, preprocessing, max_pixels=max_pixels)
        plot_example_figures(folder, predictions, classes, pixels, title=title, num_pictures=num_pictures)


def plot_confusion_figures(
    folder: ScoredFolder, confusion: NDArray[np.int64], classes: Sequence[str], *, title: str
) -> None:
    """Draws the confusion matrix as counts and in percent.

    Args:
        folder: Where.
        confusion: int64 (K, K), rows are the true class.
        classes: K class names, in class order.
        title: What it is of.
    """
    plot_confusion(folder.confusion_figure, confusion, classes, normalized=False, title=title)
    plot_confusion(folder.normalized_confusion_figure, confusion, classes, normalized=True, title=title)


def plot_example_figures(
    folder: ScoredFolder,
    predictions: Predictions,
    classes: Sequence[str],
    pixels: Pixels,
    *,
    title: str,
    num_pictures: int = NUM_TILES,
) -> None:
    """Draws a sample of the images, the worst errors and the least certain images.

    Args:
        folder: Where.
        predictions: Of N images.
        classes: K class names, in class order.
        pixels: Gives the images.
        title: What they are of.
        num_pictures: Most errors and least certain images; more than `NUM_TILES` are not drawn, and with 0 neither
            figure is.
    """
    number = min(num_pictures, NUM_TILES)
    chosen: dict[Kind, list[int]] = {
        "samples": spread(len(predictions), NUM_TILES),
        "worst": worst_errors(predictions, number),
        "least_certain": least_certain(predictions, number),
    }
    for kind, indices in chosen.items():
        if kind != "samples" and not number:
            figure_of(folder, kind).unlink(missing_ok=True)  # of an earlier epoch, before the setting was changed
            continue
        tiles = [
            predicted_tile(
                image,
                classes[predictions.labels[index]],
                classes[predictions.predicted[index]],
                float(predictions.confidence[index]),
                float(predictions.losses[index]) if kind == "worst" else None,
            )
            for index, image in zip(indices, in_threads(pixels, indices), strict=True)
        ]
        plot_kind(folder, kind, tiles, title=title)


def plot_kind(folder: ScoredFolder, kind: Kind, tiles: Sequence[Tile], *, title: str, among: str = "") -> None:
    """Draws one of the three figures; arguments as of `plot_example_figures`.

    Args:
        folder: As there.
        kind: Which figure.
        tiles: Its images, in order.
        title: As there.
        among: What they were chosen from, where that is not all that the title names.
    """
    what = {"samples": "samples", "worst": "errors, highest loss first", "least_certain": "least certain first"}[kind]
    plot_tiles(figure_of(folder, kind), tiles, title=f"{what if tiles else 'no errors'}{among}, {title}")


def figure_of(folder: ScoredFolder, kind: Kind) -> Path:
    """Where one of the three figures is."""
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
    *,
    max_pixels: int | None = None,
) -> Pixels:
    """Reads images as the model saw them, made smaller; arguments as of `write_examples`."""
    thumbnails = Thumbnails(folder.thumbnails, records, preprocessing, max_pixels=max_pixels)
    return lambda index: thumbnails.pixels(index, SIDE)
