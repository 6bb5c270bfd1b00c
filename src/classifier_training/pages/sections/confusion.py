"""Which classes are confused with each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier_training.figures.confusion import MAX_NAMES, NUM_PAIRS, confused_pairs, most_confused
from classifier_training.metrics.confusion import Confusion
from classifier_training.pages.charts.matrix import STRONGEST, WEAKEST, matrix_chart
from classifier_training.pages.charts.svg import one_line, quoted
from classifier_training.pages.inline_images import inline_image
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.section import Section, count_photos
from classifier_training.pages.wording import percentage

KEY, TITLE = "confusion", "Confusion matrix"
BLOCK = 30  # classes that are shown first where there are very many
MAX_INCLUDED = 1_000  # classes; with more of them the page has the most confused ones only


def confusion_section(data: RunData) -> Section:
    """The confusion matrix, the most confused pairs, and their images."""
    scored = data.scored
    if scored is None:
        return Section(KEY, TITLE, empty="Nothing has been scored yet.")
    if scored.confusion is None:
        return Section(KEY, TITLE, empty="The file confusion_matrix.csv is missing or cannot be read.")
    pairs = confused_pairs(scored.confusion, NUM_PAIRS)
    block = most_confused(scored.confusion, BLOCK) if len(scored.classes) > MAX_NAMES else None
    shown = list(range(len(scored.classes))) if block is None else block
    included = _included(scored, shown, pairs)
    support = scored.confusion.support
    num_errors = scored.confusion.errors().num_images
    return Section(
        KEY,
        TITLE,
        lead=_lead(scored, pairs, support, num_errors),
        values={
            "drawing": _drawing(scored, shown, is_part=block is not None),
            "num_classes": len(scored.classes),
            "num_shown": len(shown),
            "has_all": len(included) == len(scored.classes),
            "pairs": [_pair(pair, support, scored.classes, included) for pair in pairs],
            "matrix": _for_script(scored, scored.confusion, block, included),
            "images": _cell_images(scored, included),
        },
    )


def _included(scored: ScoredData, shown: list[int], pairs: list[tuple[int, int, int]]) -> dict[int, int]:
    """The classes that the page has cells of, and their numbers there; of very many, those that are most confused."""
    if len(scored.classes) <= MAX_INCLUDED:
        return {number: number for number in range(len(scored.classes))}
    chosen = sorted({*shown, *(number for pair in pairs for number in pair[:2])})
    return {number: position for position, number in enumerate(chosen)}


def _lead(scored: ScoredData, pairs: list[tuple[int, int, int]], support: NDArray[np.int64], num_errors: int) -> str:
    if not pairs:
        return f"All of {count_photos(scored)} are classified correctly."
    true, predicted, number = pairs[0]
    of_class = int(support[true])
    names = [quoted(scored.classes[one], 60) for one in (true, predicted)]
    are = "is" if num_errors == 1 else "are"
    return (
        f"{num_errors:,} of {count_photos(scored)} {are} misclassified. Most frequent error:"
        f" {names[0]} predicted as {names[1]}, {number:,} of {of_class:,} ({percentage(number / of_class, 0)})."
    )


def _drawing(scored: ScoredData, shown: list[int], *, is_part: bool) -> Any:
    if scored.confusion is None:
        return ""
    part = scored.confusion.part(shown)
    what = f"the {len(shown)} most confused of {len(scored.classes)} classes" if is_part else f"{len(shown)} classes"
    return matrix_chart(
        part,
        [scored.classes[one] for one in shown],
        "Confusion matrix",
        f"Counts of {what}; rows are the true class, columns the predicted one. The most confused pairs follow.",
    )


def _pair(
    pair: tuple[int, int, int], support: NDArray[np.int64], classes: tuple[str, ...], included: Mapping[int, int]
) -> dict[str, Any]:
    true, predicted, number = pair
    of_class = int(support[true])
    return {
        "true": one_line(classes[true]),
        "predicted": one_line(classes[predicted]),
        "count": number,
        "of_class": of_class,
        "share": number / of_class,
        "cell": f"{included[true]},{included[predicted]}",
    }


def _for_script(
    scored: ScoredData, confusion: Confusion, block: list[int] | None, included: Mapping[int, int]
) -> dict[str, Any]:
    """The matrix for the script that draws it: only the cells that are not empty, and the photos of each class."""
    part = Confusion.from_matrix(confusion.part(list(included))) if len(included) < len(scored.classes) else confusion
    return {
        "classes": [one_line(scored.classes[number]) for number in included],
        "cells": np.stack([part.labels, part.predicted, part.counts], axis=1).reshape(-1).tolist(),
        "totals": confusion.support[list(included)].tolist(),
        "block": None if block is None else [included[number] for number in block],
        "strongest": STRONGEST,
        "weakest": WEAKEST,
    }


def _cell_images(scored: ScoredData, included: Mapping[int, int]) -> dict[str, list[list[Any]]]:
    """By cell: file, confidence and address of its images; no address where the page shows the image elsewhere."""
    cells: dict[str, list[list[Any]]] = {}
    for image in scored.images if scored.examples_epoch is None else ():  # else they are of another matrix
        if image.true not in included or image.predicted not in included:
            continue
        shown = inline_image(image, scored.classes)
        is_elsewhere = bool(image.why & {"worst", "least_certain"})
        address = f"#picture-{image.index}" if is_elsewhere and shown.source is not None else shown.source
        cells.setdefault(f"{included[image.true]},{included[image.predicted]}", []).append(
            [shown.file, shown.confidence, address]
        )
    return cells
