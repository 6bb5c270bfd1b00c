"""Which classes are confused with each other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier_training.figures.confusion import MAX_NAMES, NUM_PAIRS, confused_pairs, most_confused
from classifier_training.pages.charts.matrix import STRONGEST, WEAKEST, matrix_chart
from classifier_training.pages.charts.svg import one_line, quoted
from classifier_training.pages.inline_images import inline_image
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.section import Section, count_photos
from classifier_training.pages.wording import percentage

KEY, TITLE = "confusion", "Confusion matrix"
BLOCK = 30  # classes that are shown first where there are very many


def confusion_section(data: RunData) -> Section:
    """The confusion matrix, the most confused pairs, and their images."""
    scored = data.scored
    if scored is None:
        return Section(KEY, TITLE, empty="Nothing has been scored yet.")
    if scored.confusion is None:
        return Section(KEY, TITLE, empty="The file confusion_matrix.csv is missing or cannot be read.")
    pairs = confused_pairs(scored.confusion, NUM_PAIRS)
    block = most_confused(scored.confusion, BLOCK) if len(scored.confusion) > MAX_NAMES else None
    shown = list(range(len(scored.classes))) if block is None else block
    num_errors = int(scored.confusion.sum() - scored.confusion.trace())
    return Section(
        KEY,
        TITLE,
        lead=_lead(scored, pairs, num_errors),
        values={
            "drawing": _drawing(scored, shown, is_part=block is not None),
            "num_classes": len(scored.classes),
            "num_shown": len(shown),
            "pairs": [_pair(pair, scored.confusion, scored.classes) for pair in pairs],
            "matrix": _for_script(scored, scored.confusion, block),
            "images": _cell_images(scored),
        },
    )


def _lead(scored: ScoredData, pairs: list[tuple[int, int, int]], num_errors: int) -> str:
    if scored.confusion is None or not pairs:
        return f"All of {count_photos(scored)} are classified correctly."
    true, predicted, number = pairs[0]
    of_class = int(scored.confusion[true].sum())
    names = [quoted(scored.classes[one], 60) for one in (true, predicted)]
    are = "is" if num_errors == 1 else "are"
    return (
        f"{num_errors:,} of {count_photos(scored)} {are} misclassified. Most frequent error:"
        f" {names[0]} predicted as {names[1]}, {number:,} of {of_class:,} ({percentage(number / of_class, 0)})."
    )


def _drawing(scored: ScoredData, shown: list[int], *, is_part: bool) -> Any:
    if scored.confusion is None:
        return ""
    part = scored.confusion[np.ix_(shown, shown)]
    what = f"the {len(shown)} most confused of {len(scored.classes)} classes" if is_part else f"{len(shown)} classes"
    return matrix_chart(
        part,
        [scored.classes[one] for one in shown],
        "Confusion matrix",
        f"Counts of {what}; rows are the true class, columns the predicted one. The most confused pairs follow.",
    )


def _pair(pair: tuple[int, int, int], confusion: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, Any]:
    true, predicted, number = pair
    of_class = int(confusion[true].sum())
    return {
        "true": one_line(classes[true]),
        "predicted": one_line(classes[predicted]),
        "count": number,
        "of_class": of_class,
        "share": number / of_class,
        "cell": f"{true},{predicted}",
    }


def _for_script(scored: ScoredData, confusion: NDArray[np.int64], block: list[int] | None) -> dict[str, Any]:
    """The matrix for the script that draws it: only the cells that are not empty."""
    rows, columns = np.nonzero(confusion)
    return {
        "classes": [one_line(name) for name in scored.classes],
        "cells": np.stack([rows, columns, confusion[rows, columns]], axis=1).reshape(-1).tolist(),
        "block": block,
        "strongest": STRONGEST,
        "weakest": WEAKEST,
    }


def _cell_images(scored: ScoredData) -> dict[str, list[list[Any]]]:
    """By cell: file, confidence and address of its images; no address where the page shows the image elsewhere."""
    cells: dict[str, list[list[Any]]] = {}
    for image in scored.images if scored.examples_epoch is None else ():  # else they are of another matrix
        shown = inline_image(image, scored.classes)
        is_elsewhere = bool(image.why & {"worst", "least_certain"})
        address = f"#picture-{image.index}" if is_elsewhere and shown.source is not None else shown.source
        cells.setdefault(f"{image.true},{image.predicted}", []).append([shown.file, shown.confidence, address])
    return cells
