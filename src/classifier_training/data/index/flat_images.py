"""Warns of images that show nothing once they are decoded: transparent ones and deep ones."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from classifier_training.data.index.check import MODES
from classifier_training.data.index.table import Index
from classifier_training.files.text import NUM_NAMED, name_some
from classifier_training.imaging.colours import is_deep
from classifier_training.types import Decoding


def flat_image_warnings(index: Index, decoding: Decoding) -> Iterator[str]:
    """One warning for transparent and one for deep images that are decoded to (nearly) one colour."""
    flat = np.flatnonzero(index.flat)
    if not len(flat):
        return
    deep_codes = [code for code, mode in enumerate(MODES) if is_deep(mode)]
    deep = np.isin(index.modes[flat], deep_codes)
    for rows, what, advice in (
        (flat[~deep], "what they show is only in their transparency", _transparent_advice(decoding)),
        (flat[deep], "they hold more than 8 bits and their values span little of that", _deep_advice(decoding)),
    ):
        if len(rows):
            names = name_some(str(index.record(int(row))) for row in rows[:NUM_NAMED])
            more = f" and {len(rows) - NUM_NAMED} more" if len(rows) > NUM_NAMED else ""
            count = f"{len(rows)} of {len(index)} images ({len(rows) / len(index):.0%})"
            yield f"{count} are decoded to one flat colour, as {what}; {advice}: {names}{more}"


def _transparent_advice(decoding: Decoding) -> str:
    if decoding.background is None:
        return "compose them on a colour with data.background=white (or black)"
    return "choose a data.background that differs from the colour that they show"


def _deep_advice(decoding: Decoding) -> str:
    if decoding.integer_range is None:
        return "state the values of black and white with data.integer_range, such as [0, 4095] for 12 bits"
    return "choose a data.integer_range that fits their values"
