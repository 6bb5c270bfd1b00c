"""The proof of an exported file: real images, from their files, through what production runs, against the trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from classifier_training.errors import BadImageError, first_line, is_out_of_memory
from classifier_training.exporters.acceptance import ANSWERS_ALIKE, Answers, Rule
from classifier_training.exporters.forms import ExportSettings, ProofImages
from classifier_training.exporters.stages import (
    SAME,
    Difference,
    difference_of_network,
    difference_of_preparation,
    largest_difference,
    prepare,
)
from classifier_training.inference.card import DeploymentCard

BATCH_SIZES: Final = (1, 2, 7, 64)
"""Each is run, which reveals an exporter that fixed the batch axis. All images go through one by one."""
NUM_IN_BATCHES: Final = 64
"""So many of the images go through in the largest batch."""
NUM_IN_SMALL_BATCHES: Final = 14
"""So many go through in batches of fewer."""
DEFAULT_RUNTIME: Final = "onnxruntime"
_AT_ONCE: Final = 16
_MAX_MESSAGE: Final = 400


@dataclass(frozen=True, slots=True)
class Deployed:
    """An exported file that is open, as production runs it.

    Attributes:
        run: Prepared images float32 (N, 3, S, S) to logits (N, K). It raises where the runtime does.
        card: What the file knows of classes and preprocessing; None: nothing.
        runtime: What runs it, for messages.
    """

    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    card: DeploymentCard | None
    runtime: str = DEFAULT_RUNTIME


def prove(
    deployed: Deployed,
    model: nn.Module,
    images: ProofImages,
    settings: ExportSettings,
    rule: Rule = ANSWERS_ALIKE,
    advice: str = "",
) -> dict[str, Any]:
    """Compares a file with the model: all images one by one from their files on, some of them in larger batches.

    Args:
        deployed: The file.
        model: What it was exported from: on the CPU, in evaluation mode, float32.
        images: Real images. Without their files, or where the file has no card, what the trainer prepared is taken.
        settings: How exact it must be.
        rule: When it is accepted.
        advice: What to do about a file that is refused for its network.

    Returns:
        ``passed``; if not, ``reason``, and ``image`` and ``stage`` where it is known where the file differs. The
        smallest ``top1_agreement`` and the largest ``max_abs_logit_difference`` and ``max_abs_probability_difference``
        over all batch sizes, and all of these for each of ``batch_sizes``; ``top1`` of the file and ``top1_of_model``
        where the labels are known; what the rule adds. If only the largest batch size needs more memory than there is,
        it is ``out_of_memory`` and not compared. If the runtime refuses an image, ``error`` has its message. A
        value that is not a finite number is None.
    """
    expected = logits_of_model(model, images)
    reason = reason_of_model(expected)
    if reason is not None:
        return {"passed": False, "max_abs_logit_difference": None, "reason": reason}
    return _Proof(deployed, images, expected, settings, rule, advice).figures()


def logits_of_model(model: nn.Module, images: ProofImages) -> NDArray[np.float32]:
    """The logits that the trainer scored for the images, float32 (n, K); where they are not given, of the model."""
    if images.logits is not None:
        return images.logits
    prepared = images.prepared.detach().to("cpu", torch.float32)
    parts = [prepared[start : start + _AT_ONCE] for start in range(0, len(prepared), _AT_ONCE)]
    with torch.no_grad():
        return np.concatenate([model(part).float().numpy() for part in parts])


def reason_of_model(logits: NDArray[Any]) -> str | None:
    """Why a model cannot be exported whose logits (n, K) are these; None: it can."""
    num_wrong = int((~np.isfinite(logits).all(axis=1)).sum())
    if not num_wrong:
        return None
    return (
        f"a logit of the model itself is not a finite number for {num_wrong} of {len(logits)} images: its"
        " training diverged; export other weights"
    )


def true_labels(images: ProofImages) -> NDArray[np.int64]:
    """int64 (n,), class indices, -1 where one is not known; empty where there are no files."""
    return np.array([-1 if one.label is None else one.label for one in images.originals], np.int64)


def name_of(images: ProofImages, position: int) -> str:
    """What messages call an image."""
    return images.originals[position].name if images.originals else f"image {position + 1}"


def spread(num_images: int, num_wanted: int) -> NDArray[np.int64]:
    """Positions of images from all over a list, in order, the first and the last among them; all if there are few."""
    return np.unique(np.linspace(0, num_images - 1, min(num_images, num_wanted)).round().astype(np.int64))


def in_whole_batches(positions: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Some of the images, from all over them, for batches of ``size``; the last one is filled up from the start."""
    chosen = positions[spread(len(positions), max(size, NUM_IN_SMALL_BATCHES))]
    return np.resize(chosen, math.ceil(len(chosen) / size) * size)


def summary(compared: Sequence[Answers]) -> dict[str, Any]:
    """The figures over all batch sizes, those of one by one first, and those of each."""
    each = [answers.figures() for answers in compared]
    figures: dict[str, Any] = {"top1_agreement": min(one["top1_agreement"] for one in each)}
    for name in ("max_abs_logit_difference", "max_abs_probability_difference"):
        values = [one[name] for one in each]
        figures[name] = None if None in values else max(values)
    return figures | {"batch_sizes": each} | compared[0].accuracy()


@dataclass(slots=True)
class _Proof:
    """The comparison of one file; arguments as of `prove`, and the logits that are expected, (n, K)."""

    deployed: Deployed
    images: ProofImages
    expected: NDArray[np.float32]
    settings: ExportSettings
    rule: Rule
    advice: str
    _kept: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    _first: tuple[int, Difference] | None = None

    def figures(self) -> dict[str, Any]:
        size = 1
        compared: list[Answers] = []
        try:
            found = self._one_by_one()
            if found is None:
                return self._refused_at_once()
            compared.append(self._answers(1, np.arange(len(found)), found))
            for size in BATCH_SIZES[1:]:
                compared.append(self._in_batches(size))
        except Exception as error:  # runtimes raise exceptions of their own, and the file may be anything
            if is_out_of_memory(error) and size == BATCH_SIZES[-1]:
                return self._judged(compared) | {"out_of_memory": size}  # few machines need so many at once
            if is_out_of_memory(error):
                raise  # `export_verified` explains it
            message = f"{first_line(error)[:_MAX_MESSAGE]} (in batches of {size})"
            reason = f"{self.deployed.runtime} cannot run the exported file: {message}"
            return {"passed": False, "stage": "network", "error": message, "reason": reason}
        return self._judged(compared)

    def _judged(self, compared: Sequence[Answers]) -> dict[str, Any]:
        further, reason = self.rule.judge(compared, self.settings)
        figures = summary(compared) | further
        at = self._first or (None if reason is None else self._first_other_label(compared))
        if at is None:
            at = self._other_card()
        if reason is None and at is None:
            return figures | {"passed": True}
        return {**figures, **self._refusal(at, reason), "passed": False}

    def _one_by_one(self) -> NDArray[np.float32] | None:
        """The logits of all images, (n, K); None where one is prepared otherwise."""
        found: list[NDArray[np.float32]] = []
        kept = set(spread(len(self.expected), NUM_IN_BATCHES).tolist())
        for position, expected in enumerate(self.expected):
            prepared = self._prepared(position)
            if prepared is None:
                return None
            if position in kept:
                self._kept[position] = prepared
            logits = self._run(prepared[None])
            found.append(logits)
            if self.rule.is_exact and self._first is None and self._differs(position, logits):
                self._first = position, self._network_difference(prepared, expected)
        return np.concatenate(found)

    def _prepared(self, position: int) -> NDArray[np.float32] | None:
        """An image as the file's card says, float32 (3, S, S); None where the trainer prepares it otherwise."""
        wanted: NDArray[np.float32] = self.images.prepared[position].numpy()
        card = self.deployed.card
        if not self.images.originals or card is None:
            return wanted
        try:
            prepared = prepare(self.images.originals[position], card.preprocessing)
        except BadImageError as error:
            self._first = self._first or (position, Difference("decode", str(error)))
            return None
        if largest_difference(prepared, wanted) <= SAME:
            return prepared
        difference = difference_of_preparation(self.images, position, card.preprocessing)
        self._first = self._first or (position, difference or Difference("normalise", "other values"))
        return None

    def _run(self, prepared: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = self.deployed.run(prepared)
        wanted = (len(prepared), self.expected.shape[1])
        if logits.shape != wanted:
            raise ValueError(f"it gives logits of shape {logits.shape} where the model gives {wanted}")
        return logits

    def _in_batches(self, size: int) -> Answers:
        """The kept images in batches of exactly ``size``, the last one filled up from the start."""
        kept = np.array(list(self._kept), np.int64)
        order = np.resize(kept, math.ceil(len(kept) / size) * size)
        parts = [
            self._run(np.stack([self._kept[position] for position in part]))
            for part in order.reshape(-1, size).tolist()
        ]
        return self._answers(size, order, np.concatenate(parts))

    def _answers(self, size: int, order: NDArray[np.int64], found: NDArray[np.float32]) -> Answers:
        labels, of_file, of_model = true_labels(self.images), self.deployed.card, self.images.card
        names = None
        if of_file is not None and of_model is not None and len(of_file.classes) == self.expected.shape[1]:
            names = of_file.classes, of_model.classes
        card = of_model or of_file
        temperature = 1.0 if card is None else card.temperature or 1.0
        known = labels[order] if len(labels) else labels
        return Answers(size, order, found, self.expected[order], known, temperature, names)

    def _differs(self, position: int, found: NDArray[np.float32]) -> bool:
        """Whether the logits (1, K) of an image are not those of the model, or mean another class."""
        answers = self._answers(1, np.array([position]), found)
        is_near = answers.logit_differences <= self.settings.tolerance  # NaN is not
        return not (answers.has_same_label & is_near).all()

    def _network_difference(self, prepared: NDArray[np.float32], expected: NDArray[np.float32]) -> Difference:
        """Of an image that is prepared as it should be."""
        card, tolerance = self.deployed.card, self.settings.tolerance
        preprocessing = None if card is None else card.preprocessing
        found = self._run(prepared[None])[0]
        if largest_difference(found, expected) <= tolerance and found.argmax() == expected.argmax():
            return self._difference_of_names(int(expected.argmax()))
        return difference_of_network(self._run, prepared, expected, preprocessing, tolerance)

    def _difference_of_names(self, index: int) -> Difference:
        of_file, of_model = self.deployed.card, self.images.card
        assert of_file is not None and of_model is not None  # noqa: S101, PT018 - or the names would not differ
        name = of_file.classes[index] if index < len(of_file.classes) else "nothing"
        return Difference("labels", f"the file calls it {name!r}, the model {of_model.classes[index]!r}")

    def _first_other_label(self, compared: Sequence[Answers]) -> tuple[int, Difference] | None:
        """The first image of those one by one whose label is another one."""
        other = np.flatnonzero(~compared[0].has_same_label)
        if not len(other):
            return None
        return int(other[0]), Difference("network", f"its label is another one, as of {len(other)} images in all")

    def _other_card(self) -> tuple[int, Difference] | None:
        """What the card of the file says otherwise than the trainer, without a consequence for these images."""
        of_file, of_model = self.deployed.card, self.images.card
        if of_file is None or of_model is None or not len(self.expected):
            return None
        if of_file.classes != of_model.classes:
            pairs = zip(of_file.classes, of_model.classes, strict=False)
            index = next((number for number, (one, other) in enumerate(pairs) if one != other), 0)
            return 0, self._difference_of_names(index)
        if of_file.temperature != of_model.temperature:
            detail = f"the temperature is {of_file.temperature} in the file, {of_model.temperature} in training"
            return 0, Difference("decision", detail)
        return None

    def _refused_at_once(self) -> dict[str, Any]:
        return {"passed": False, **self._refusal(self._first, None)}

    def _refusal(self, at: tuple[int, Difference] | None, reason: str | None) -> dict[str, Any]:
        refusal, parts = dict[str, Any](), list[str]()
        if at is not None:
            refusal = {"image": name_of(self.images, at[0]), "stage": at[1].stage}
            parts.append(f"{refusal['image']} differs at the stage {at[1].stage}: {at[1].detail}")
        parts += [reason] if reason else []
        parts += [self.advice] if self.advice and (at is None or at[1].stage == "network") else []
        where = "" if self.deployed.runtime == DEFAULT_RUNTIME else f"in {self.deployed.runtime} "
        return {**refusal, "reason": f"{where}the exported file {self.rule.claim}: {'; '.join(parts)}"}
