"""Reasons not to trust a score at first sight, each a sentence that says what follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from classifier_training.pages.charts.svg import quoted
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.wording import count, listing, percentage

SMALL = 200  # images, below which a score is rough
FEW_OF_CLASS = 10
FEW_VALIDATED = 50  # validation photos, below which they choose an epoch by chance
FEW_COMPARED = 10  # photos that an export was proven on
STRONG_IMBALANCE = 10.0


@dataclass(frozen=True, slots=True)
class Caveat:
    """One reason.

    Attributes:
        level: ``serious``: the score or the file is not what it seems; ``note``: good to know.
        title: What is the matter.
        text: What follows from it.
    """

    level: Literal["serious", "note"]
    title: str
    text: str


def caveats(data: RunData) -> list[Caveat]:
    """All reasons in a run or an evaluation, serious ones first."""
    scored = data.final or data.validation
    found = [*_of_validation(data), *_of_export(data), *_of_photos(data)]
    if scored is not None:
        found = [*_of_split(data, scored), *_of_classes(scored), *found]
    return sorted(found, key=lambda doubt: doubt.level != "serious")


def _of_split(data: RunData, scored: ScoredData) -> Iterator[Caveat]:
    if scored.num_trained_on:
        yield Caveat(
            "serious",
            f"{scored.num_trained_on:,} of {count(scored.num_images, 'photo')} were trained on",
            "The model has seen them, so the score is better than it will be on new photos.",
        )
    if data.status == "finished" and scored.split == "val":
        yield Caveat(
            "serious",
            "No test split",
            "The validation photos chose which epoch is kept, so their score is flattering. Expect less on new photos.",
        )
    if scored.split == "train":
        yield Caveat("serious", "Scored on training photos", "It says nothing about photos the model has not seen.")
    if scored.num_images < SMALL:
        interval = scored.intervals.get("top1")
        width = "" if interval is None else (
            f" Its interval is {100 * (interval[1] - interval[0]):.0f} percentage points wide: a difference of a few"
            " points between two models can be chance.")  # fmt: skip
        yield Caveat("note", f"Only {count(scored.num_images, 'photo')} scored", f"The score is rough.{width}")
    if scored.left_out:
        names = listing([quoted(name, 60) for name in scored.left_out], 3)
        yield Caveat("note", f"{count(len(scored.left_out), 'file')} left out", f"Could not be read: {names}.")


def _of_classes(scored: ScoredData) -> Iterator[Caveat]:
    absent = [quoted(row.name) for row in scored.per_class if not row.support]
    if absent:
        they = "it" if len(absent) == 1 else "they"
        title = f"{count(len(absent), 'class', 'classes')} without a photo to score"
        yield Caveat("serious", title, f"Nothing is known of how well {they} would be recognised: {listing(absent)}.")
    few = [row for row in scored.per_class if 0 < row.support < FEW_OF_CLASS]
    if few:
        have = "has" if len(few) == 1 else "have"
        none = "" if not absent else f", another {len(absent)} {'has' if len(absent) == 1 else 'have'} none"
        yield Caveat(
            "note",
            f"{len(few)} of {count(len(scored.per_class), 'class', 'classes')} {have} fewer than {FEW_OF_CLASS} photos"
            f"{none}",
            "Read their row in the table with its interval, not the number alone.",
        )


def _of_validation(data: RunData) -> Iterator[Caveat]:
    statistics, scored = data.statistics, data.final or data.validation
    if statistics is None or data.best_epoch is None:
        return
    validated = statistics.counts.get("val", ())
    if 0 < sum(validated) < FEW_VALIDATED:
        yield Caveat(
            "note",
            f"Only {count(sum(validated), 'validation photo')}",
            "They chose which epoch is kept; between epochs of about the same score that is chance.",
        )
    trained = statistics.counts.get("train", ())
    if sum(validated) and (scored is None or scored.split != "val"):  # those of a scored split are named with it
        pairs = zip(statistics.classes, trained, validated, strict=False)
        absent = [quoted(name) for name, num_trained, num_validated in pairs if num_trained and not num_validated]
        if absent:
            title = f"{count(len(absent), 'class', 'classes')} without a validation photo"
            yield Caveat("note", title, f"Which epoch is kept does not depend on {listing(absent, 2)}.")


def _of_export(data: RunData) -> Iterator[Caveat]:
    proof = data.verification
    if proof is not None and not proof.passed:
        why = (proof.reason or "").rstrip(".")
        yield Caveat(
            "serious", "The exported file does not answer like the model", f"{why or 'The comparison failed'}."
        )
    elif proof is not None and data.onnx is not None and data.onnx.is_proven and proof.num_images < FEW_COMPARED:
        yield Caveat(
            "note",
            f"The exported file is proven on {count(proof.num_images, 'photo')} alone",
            "Few photos can miss a difference that others would show.",
        )
    elif data.onnx is not None and not data.onnx.is_proven and data.status == "finished":
        yield Caveat(
            "serious",
            "The exported file is not proven",
            "No comparison with the trained model belongs to this file; make one with classifier-training export.",
        )


def _of_photos(data: RunData) -> Iterator[Caveat]:
    statistics, sampler = data.statistics, data.sampler
    if statistics is not None and statistics.imbalance_ratio is not None:
        ratio = statistics.imbalance_ratio
        if ratio >= STRONG_IMBALANCE:
            balance = setting(data.config, "data", "balance") or "none"
            done = f"data.balance={balance} corrects it" if balance != "none" else "nothing corrects it"
            yield Caveat(
                "note",
                f"The largest class is {ratio:.0f} times the smallest",
                f"In training {done}. Look at balanced accuracy and at the small classes, not at top-1 alone.",
            )
    if statistics is not None and statistics.bad:
        share = percentage(len(statistics.bad) / max(statistics.num_images + len(statistics.bad), 1))
        yield Caveat("note", f"{count(len(statistics.bad), 'bad file')}", f"{share} of all files could not be read.")
    if sampler is not None and len(sampler.epochs):
        never = np.flatnonzero((sampler.drawn.sum(axis=0) == 0) & (sampler.images > 0))
        if len(never):
            names = listing([quoted(sampler.classes[place]) for place in never])
            title = f"{count(len(never), 'class', 'classes')} never drawn"
            yield Caveat("serious", title, f"The model was not trained on what the data holds of {names}.")
