"""Several runs side by side: their labels, their scores, the best one, and the limits of the comparison."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from classifier_training.metrics.paired import PairedComparison, compare_paired
from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.section import count_photos
from classifier_training.pages.wording import SPACE, count, listing, percentage

LONGEST_LABEL = 40
SIGNIFICANT = 0.05

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Pairing:
    """The comparison of two passes.

    Attributes:
        are_same: Whether both are of the same images, all of them.
        comparison: On the common images; None where there are none, or they are not known.
        were_replaced: Whether the files of the one have another content than those of the same names of the other.
    """

    are_same: bool
    comparison: PairedComparison | None
    were_replaced: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ComparedRun:
    """One of several runs.

    Attributes:
        label: Its name, which no other run has.
        data: From `read_run`.
        scored: Its scores; None where there are none.
        pairing: With the best run, image by image; None for the best run, and where either has no scores.
    """

    label: str
    data: RunData
    scored: ScoredData | None
    pairing: Pairing | None = None

    @property
    def quoted(self) -> str:
        """Its name in a sentence."""
        return f"“{self.label}”"


@dataclass(frozen=True, slots=True, eq=False)
class ComparedRuns:
    """Several runs.

    Attributes:
        runs: All of them, in the order in which they were named.
        best: The one with the highest top-1; None where none has scores.
    """

    runs: tuple[ComparedRun, ...]
    best: ComparedRun | None

    @property
    def others(self) -> tuple[ComparedRun, ...]:
        """All but the best."""
        return tuple(run for run in self.runs if run is not self.best)


def compared_runs(data: Sequence[RunData]) -> ComparedRuns:
    """Names runs, finds the best and pairs the others with it."""
    runs = [ComparedRun(label, one, one.scored) for label, one in zip(_labels(data), data, strict=True)]
    scored = [(run.scored.top1, -index) for index, run in enumerate(runs) if run.scored is not None]
    if not scored:
        return ComparedRuns(tuple(runs), None)
    best = -max(scored)[1]
    paired = tuple(run if index == best else _paired(run, runs[best]) for index, run in enumerate(runs))
    return ComparedRuns(paired, paired[best])


def conclusion(best: ComparedRun, other: ComparedRun) -> str:
    """Whether the best run really is better than another, in a sentence or two."""
    if best.scored is None or other.scored is None:
        return f"{other.quoted} has no scores yet."
    tops = [percentage(best.scored.top1), percentage(other.scored.top1)]
    scores = " against ".join(tops)
    if not is_scored_alike(best, other):
        return (
            f"{best.quoted} and {other.quoted}: top-1 {scores}, but they were scored with different test-time"
            " augmentation, so the difference may come from that."
        )
    comparison = None if other.pairing is None else other.pairing.comparison
    if comparison is None:
        return (
            f"{best.quoted} and {other.quoted}: top-1 {scores}, but it is not known which photos both were scored on,"
            " so the difference may come from the photos."
        )
    alone = (
        f"Of the {count(comparison.num_images, 'photo')} that both were scored on, only {best.quoted} is correct on"
        f" {comparison.num_only_first:,} and only {other.quoted} on {comparison.num_only_second:,}"
        f" (McNemar, {p_value(comparison.p_value)})."
    )
    if comparison.p_value >= SIGNIFICANT:
        return f"{best.quoted} and {other.quoted} do not differ significantly: top-1 {scores} may be chance. {alone}"
    better, worse = (best, other) if comparison.num_only_first > comparison.num_only_second else (other, best)
    scores = " against ".join(tops if better is best else reversed(tops))
    return f"{better.quoted} is better than {worse.quoted}: top-1 {scores} is more than chance. {alone}"


def is_scored_alike(run: ComparedRun, other: ComparedRun | None) -> bool:
    """Whether both have scores of the same test-time augmentation."""
    scores = [one.scored for one in (run, other) if one is not None and one.scored is not None]
    return len(scores) == 2 and scores[0].tta == scores[1].tta


def p_value(value: float) -> str:
    """A p-value as text."""
    text = "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.1 else f"p = {value:.2f}"
    return text.replace(" ", SPACE)


def cannot_be_compared(compared: ComparedRuns) -> list[str]:
    """Differences between the runs because of which their numbers do not show which is better; a sentence each."""
    differences = (_unfinished, _photos, _views, _classes, _models)
    return [sentence for find in differences for sentence in find(compared)]


def _unfinished(compared: ComparedRuns) -> Iterator[str]:
    for run in compared.runs:
        if run.scored is None:
            yield f"{run.quoted} has no scores; only its curves and settings can be compared."
        elif run.data.status == "training":
            epochs = f"{run.data.num_epochs} of {run.data.max_epochs or 'unknown'} epochs"
            yield f"{run.quoted} is not finished ({epochs}): its scores are on the validation photos so far."
        elif run.scored.num_trained_on:
            photos = count(run.scored.num_trained_on, "photo")
            yield f"{run.quoted} was trained on {photos} that it was also scored on: its scores are too high."


def _photos(compared: ComparedRuns) -> Iterator[str]:
    best = compared.best
    for run in compared.others:
        if best is None or best.scored is None or run.scored is None or run.pairing is None or run.pairing.are_same:
            continue
        names = " and ".join(
            f"{one.quoted} on {count_photos(one.scored)} ({one_line(one.scored.description, 80)})"
            for one in (best, run)
            if one.scored
        )
        comparison = run.pairing.comparison
        if best.scored.predictions is None or run.scored.predictions is None:
            yield f"It is not known whether {best.quoted} and {run.quoted} were scored on the same photos: {names}."
        elif comparison is None:
            how = "of other content at the same paths" if run.pairing.were_replaced else "at different paths"
            yield (
                f"{best.quoted} and {run.quoted} were scored on photos {how}, so it is not known whether"
                f" they have any in common: {names}. evaluate --not-worse-than scores both on the same photos."
            )
        else:
            yield (
                f"{best.quoted} and {run.quoted} were scored on different photos, {comparison.num_images:,} of them in"
                f" common: {names}. The paired test uses only these."
            )


def _views(compared: ComparedRuns) -> Iterator[str]:
    ways = [(run.quoted, run.scored.tta) for run in compared.runs if run.scored is not None]
    if len({tta for _, tta in ways}) > 1:
        named = [f"{name} {'without' if tta == 'none' else f'with {tta}'}" for name, tta in ways]
        yield f"The scores differ in their test-time augmentation: {listing(named)}."


def _classes(compared: ComparedRuns) -> Iterator[str]:
    best = compared.best
    known = [run for run in compared.runs if run.data.classes]
    if best is None or not best.data.classes:
        return
    for run in known:
        ours, theirs = set(best.data.classes), set(run.data.classes)
        if ours != theirs:
            only = [
                f"{listing([f'“{one_line(name, 40)}”' for name in sorted(names)])} only in {one.quoted}"
                for one, names in ((best, ours - theirs), (run, theirs - ours))
                if names
            ]
            yield f"{best.quoted} and {run.quoted} have different classes: {'; '.join(only)}."


def _models(compared: ComparedRuns) -> Iterator[str]:
    monitors = {run.data.monitor for run in compared.runs if run.data.status != "evaluation"}
    if len(monitors) > 1:
        yield f"The best epoch was chosen by different scores: {listing(sorted(map(one_line, monitors)))}."
    latencies = [run.data.model_info.latency for run in compared.runs if run.data.model_info is not None]
    devices = {one.device for one in latencies if one is not None}
    if len(devices) > 1:
        yield f"Latency was measured on different devices: {listing(sorted(map(one_line, devices)))}."
    roots = {str(run.data.environment.get("data_fingerprint")) for run in compared.runs if run.data.environment}
    if len(roots) > 1 and any(setting(run.data.config, "data", "root") for run in compared.runs):
        yield "The runs were trained on different photos, or on different splits of the same photos."


def _paired(run: ComparedRun, best: ComparedRun) -> ComparedRun:
    if run.scored is None or best.scored is None:
        return run
    # of the contents, not of paths
    fingerprints = [one.data.environment.get("data_fingerprint") for one in (run, best)]
    are_same = fingerprints[0] == fingerprints[1] is not None and run.scored.split == best.scored.split is not None
    return ComparedRun(run.label, run.data, run.scored, pair(best.scored, run.scored, are_same_photos=are_same))


def _labels(data: Sequence[RunData]) -> list[str]:
    """Names of the folders; with the folder above them, or a number, where two have one name."""
    names = [one.name for one in data]
    if len(set(names)) < len(names):
        names = [f"{one.root.resolve().parent.name}/{one.name}" for one in data]
    short = [one_line(name, LONGEST_LABEL) for name in names]
    return [name if short.count(name) == 1 else f"{name} ({index})" for index, name in enumerate(short, start=1)]


def pair(first: ScoredData, second: ScoredData, *, are_same_photos: bool) -> Pairing:
    """Compares two passes image by image.

    An image is identified by its path, its class, and its number among those of the same path.

    Args:
        first: With its predictions, without which the images are not known.
        second: The same.
        are_same_photos: Whether both are of the same photos in any folder: then an image is identified by its path
            below the common folder of all images, as after a training on another machine.
    """
    if first.predictions is None or second.predictions is None:
        return Pairing(are_same=False, comparison=None)
    ours, theirs = _are_correct(first, first.predictions.files), _are_correct(second, second.predictions.files)
    if ours.keys() == theirs.keys() and None not in (first.content, second.content) and first.content != second.content:
        return Pairing(are_same=False, comparison=None, were_replaced=True)
    if are_same_photos and ours.keys().isdisjoint(theirs):
        below = [_below_common_folder(predictions.files) for predictions in (first.predictions, second.predictions)]
        shortened = _are_correct(first, below[0]), _are_correct(second, below[1])
        if shortened[0].keys() == shortened[1].keys():
            ours, theirs = shortened
    common = [key for key in ours if key in theirs]
    if not common:
        return Pairing(are_same=False, comparison=None)
    are_correct = [np.array([one[key] for key in common], dtype=np.bool_) for one in (ours, theirs)]
    return Pairing(are_same=len(common) == len(ours) == len(theirs), comparison=compare_paired(*are_correct))


def _are_correct(scored: ScoredData, files: Iterable[str]) -> dict[Key, bool]:
    """Whether each image was predicted correctly."""
    predictions = scored.predictions
    if predictions is None:
        return {}
    seen: Counter[tuple[str, str]] = Counter()
    is_correct: dict[Key, bool] = {}
    for file, label, predicted in zip(files, predictions.labels.tolist(), predictions.predicted.tolist(), strict=True):
        image = (file, scored.classes[label])
        is_correct[*image, seen[image]] = label == predicted
        seen[image] += 1
    return is_correct


def _below_common_folder(files: Sequence[str]) -> list[str]:
    folder = os.path.dirname(os.path.commonprefix(files))  # noqa: PTH120, RUF071 - file names of any machine
    return [file[len(folder) :] for file in files]
