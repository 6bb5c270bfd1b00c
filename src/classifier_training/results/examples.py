"""Which images are shown with the scores, and ``pictures.json``, their list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np

from classifier_training.figures.rendering import PlottingBudget
from classifier_training.files.text import plain_text
from classifier_training.metrics.scores import Predictions
from classifier_training.results.examples_file import ExampleRow, ExamplesFile
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.results.thumbnails import DigestOf, Thumbnails
from classifier_training.run.folder import ScoredFolder
from classifier_training.run.records import write_record
from classifier_training.types import ImageRecord, Preprocessing

CELL_SIDE: Final = 112
"""Largest side of an image that is shown for a cell of the confusion matrix, pixels."""
LARGE_SIDE: Final = 224
"""Largest side of the worst errors and of the least certain images, pixels."""
MAX_PER_CELL: Final = 12
MAX_IN_CELLS: Final = 1_000

Why = Literal["worst", "least_certain", "cell"]


def write_examples(
    folder: ScoredFolder,
    scored: ScoredPass,
    records: Sequence[ImageRecord],
    preprocessing: Preprocessing,
    budget: PlottingBudget | None = None,
    digest_of: DigestOf | None = None,
) -> bool:
    """Writes ``pictures.json`` and the small images that it names.

    A small image is kept as long as the image and its preprocessing are the same; an unreadable image has none.

    Args:
        folder: Where.
        scored: The pass; its Grad-CAM maps are computed for the worst errors.
        records: Where its images are; only those that are shown are looked up.
        preprocessing: How the model saw them.
        budget: Small images are made while it is open, the most important ones first, and the others are without
            one; small images that are no longer shown are kept for the next time. None: all are made, and those that
            are not shown are removed.
        digest_of: As of `Thumbnails`.

    Returns:
        Whether nothing was postponed for lack of time.
    """
    chosen = choose_examples(scored.predictions, scored.num_examples)
    thumbnails = Thumbnails(folder.thumbnails, records, preprocessing, digest_of)
    sides = {index: CELL_SIDE if reasons == ["cell"] else LARGE_SIDE for index, reasons in chosen.items()}
    small = {index: _relative(folder, path) for index, path in thumbnails.make_all(sides, budget).items()}
    worst = [index for index, reasons in chosen.items() if "worst" in reasons and small[index] is not None]
    maps = scored.cam(worst) if scored.cam is not None and worst else {}
    overlays = {index: _relative(folder, thumbnails.overlay(index, LARGE_SIDE, maps[index])) for index in sorted(maps)}
    rows = tuple(
        _example(scored, index, str(records[index]), tuple(reasons), small[index], overlays.get(index))
        for index, reasons in chosen.items()
    )
    write_record(folder.images, ExamplesFile(epoch=scored.epoch, pictures=rows), durable=False)
    shown = {name for name in (*small.values(), *overlays.values()) if name is not None}
    thumbnails.remove_others({name.rpartition("/")[2] for name in shown}, keep_valid=budget is not None)
    return not thumbnails.num_postponed


def _example(
    scored: ScoredPass, index: int, file: str, why: tuple[str, ...], thumbnail: str | None, cam: str | None
) -> ExampleRow:
    """One image with its prediction; an infinite loss, which JSON cannot hold, is None."""
    predictions, loss = scored.predictions, float(scored.predictions.losses[index])
    return ExampleRow(
        index=index,
        file=plain_text(file),
        true=scored.classes[predictions.labels[index]],
        predicted=scored.classes[predictions.predicted[index]],
        confidence=float(predictions.confidence[index]),
        loss=loss if np.isfinite(loss) else None,
        why=why,
        thumbnail=thumbnail,
        cam=cam,
    )


def choose_examples(predictions: Predictions, num_examples: int) -> dict[int, list[Why]]:
    """Positions of the images to show, the most important ones first, and why each is shown.

    ``num_examples`` of the worst errors and as many of the least certain images are.
    """
    chosen: dict[int, list[Why]] = {}
    reasons: tuple[tuple[Why, list[int]], ...] = (
        ("worst", worst_errors(predictions, num_examples)),
        ("least_certain", least_certain(predictions, num_examples)),
        ("cell", of_cells(predictions)),
    )
    for why, indices in reasons:
        for index in indices:
            chosen.setdefault(index, []).append(why)
    return chosen


def worst_errors(predictions: Predictions, num_examples: int) -> list[int]:
    """Positions of the errors with the highest loss, the highest first."""
    wrong = np.flatnonzero(~predictions.is_correct)
    order = np.argsort(-predictions.losses[wrong], kind="stable")[:num_examples]
    return [int(index) for index in wrong[order]]


def least_certain(predictions: Predictions, num_examples: int) -> list[int]:
    """Positions of the images with the lowest confidence, correct or not, the lowest first."""
    return [int(index) for index in np.argsort(predictions.confidence, kind="stable")[:num_examples]]


def of_cells(predictions: Predictions) -> list[int]:
    """Positions of the images of each cell of the confusion matrix, the highest losses of each.

    Errors come before correct predictions, the first image of every cell before the second of any, and cells with more
    images before those with fewer: where `MAX_IN_CELLS` is too few, as many cells as possible have some.
    """
    num_classes = int(max(predictions.labels.max(initial=0), predictions.predicted.max(initial=0))) + 1
    cells = predictions.labels * num_classes + predictions.predicted
    order = np.lexsort((-predictions.losses, cells))
    _, first, counts = np.unique(cells[order], return_index=True, return_counts=True)
    rank_in_cell = np.arange(len(order)) - np.repeat(first, counts)
    size_of_cell = np.repeat(counts, counts)
    importance = np.lexsort((-size_of_cell, rank_in_cell, predictions.is_correct[order]))
    kept = importance[rank_in_cell[importance] < MAX_PER_CELL][:MAX_IN_CELLS]
    return [int(index) for index in order[kept]]


def _relative(folder: ScoredFolder, path: Any) -> str | None:
    return None if path is None else f"{folder.thumbnails.name}/{path.name}"
