"""The unknown score of a finished training: chosen and fitted with its final weights, and what is told of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from classifier_training.config.probe import is_probe
from classifier_training.config.schema import Config
from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.sources.detect import shown_root
from classifier_training.errors import ModelError
from classifier_training.features.extract import Extraction, extract
from classifier_training.features.views import CentreView
from classifier_training.inference.unknown import UnknownCard
from classifier_training.metrics.unknown import UnknownScore, fit_unknown_score
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.head_features import linear_classifier
from classifier_training.models.unknown import UnknownDetector
from classifier_training.models.unknown_choice import Images, UnknownChoice, choose_unknown_score, why_no_choice
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.results.unknown_effect import describe_choice, describe_unknown, unknown_effect
from classifier_training.results.unknown_file import KindFigures, LeftOutClass, ScoreBin, UnknownRecord
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.plan import Plan

NUM_REFERENCE: Final = 1_000
"""Training images at most whose features are used."""
NUM_FITTED: Final = 500
"""Of these at most so many, which the heads of the choice are fitted to."""
MOST_COMPARED: Final = 1_000
"""Validation images at most that the scores are compared on."""
MAX_FEATURES: Final = 25_000_000
"""The most features, images times D, that are kept of the validation images."""


@dataclass(frozen=True, slots=True, eq=False)
class ValidationOutputs:
    """What a model gave for validation images.

    Attributes:
        logits: float32 (N, K), without temperature.
        labels: int64 (N,).
        features: float32 (N, D), what its linear head got; None: it has none, or they are too many to keep.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    features: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, eq=False)
class FittedUnknown:
    """An unknown score, or why there is none.

    Attributes:
        detector: The score with its threshold; None: there is none.
        record: What ``results.json`` keeps of it; None: none was asked for.
        scores: float32 (N,), of the validation images.
    """

    detector: UnknownDetector | None = None
    record: UnknownRecord | None = None
    scores: NDArray[np.float32] | None = None


def fit_unknown(
    plan: Plan,
    model: BaseClassificationModel,
    outputs: ValidationOutputs,
    terminal: Terminal,
    device: torch.device,
    check_stop: Callable[[], None],
) -> FittedUnknown:
    """Chooses a score, and fits it to training images and its threshold to validation images.

    No random number is used, and the model stays as it is.

    Args:
        plan: What was trained.
        model: With its final weights.
        outputs: Of the validation images, at least one.
        terminal: Where the progress is shown.
        device: Where features are computed.
        check_stop: Called after each batch and each fit, and may raise to stop.
    """
    labels, num_classes = plan.photos.labels("train"), len(plan.photos.classes)
    chosen_images = reference_images(labels, NUM_REFERENCE)
    features, reason, choice = None, "the head of the model is not one linear layer", None
    if outputs.features is not None:
        reason = why_no_choice(labels[chosen_images], outputs.labels) or ""
        if not reason:
            features = _train_features(plan, model, chosen_images, terminal, device, check_stop)
            step = math.ceil(len(outputs.labels) / MOST_COMPARED)
            val = Images(outputs.features[::step], outputs.labels[::step])
            few = reference_images(labels[chosen_images], NUM_FITTED)
            train = Images(features[few], labels[chosen_images][few])
            reason = why_no_choice(train.labels, val.labels) or ""
            if not reason:
                choice = choose_unknown_score(train, val, num_classes, check_stop)
    score = fit_unknown_score("energy" if choice is None else choice.kind, features, num_classes)
    scores = score(outputs.logits, outputs.features)
    detector = _detector(score, scores, plan.config.calibration.known_share, choice)
    record = _record(detector, choice, plan.photos.classes, reason)
    return FittedUnknown(detector, replace(record, num_reference=0 if features is None else len(features)), scores)


def reference_images(labels: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Positions of at most so many images, ascending: as many of each class as there are, or an equal share.

    Of a class they are from all over its images. With more classes than images, some classes have none.
    """
    classes = np.unique(labels)
    if len(classes) > most:
        classes = classes[np.linspace(0, len(classes) - 1, most).round().astype(np.int64)]
    share = max(1, most // max(1, len(classes)))
    found = list[NDArray[np.int64]]()
    for one in classes:
        places = np.flatnonzero(labels == one)
        count = min(share, len(places))
        found.append(places[np.linspace(0, len(places) - 1, count).round().astype(np.int64)])
    return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)


def has_linear_head(model: BaseClassificationModel) -> torch.nn.Linear | None:
    """The linear layer that gives the logits of a model; None: it is something else."""
    try:
        return linear_classifier(model.backbone, model.preprocessing.image_size)
    except ModelError:
        return None


def has_cached_features(config: Config) -> bool:
    """Whether the features of a run's training images are in the cache, from the start of a probe."""
    return is_probe(config) and config.data.cache in {"auto", "disk"}


def _train_features(
    plan: Plan,
    model: BaseClassificationModel,
    chosen: NDArray[np.int64],
    terminal: Terminal,
    device: torch.device,
    check_stop: Callable[[], None],
) -> NDArray[np.float32]:
    """Features of training images, which a probe has in the cache of its backbone's features."""
    data, photos = plan.config.data, plan.photos
    records, digests = photos.records("train"), photos.digests("train")
    how = Extraction(
        device=device,
        batch_size=data.images_per_batch,
        num_workers=plan.loaders.count,
        cache=cache_folder(data.cache_dir) if has_cached_features(plan.config) else None,
        limit=data.copies_bytes,
        photos=shown_root(photos.root),
        check_stop=check_stop,
    )
    with torch.random.fork_rng([]), terminal.progress("features of training images", "images") as progress:
        how = replace(how, progress=progress)
        wanted = [records[at] for at in chosen.tolist()]
        return extract(model, wanted, digests[chosen], view=CentreView(plan.preprocessing), how=how)


def _detector(
    score: UnknownScore, scores: NDArray[np.float32], known_share: float, choice: UnknownChoice | None
) -> UnknownDetector:
    card = UnknownCard(
        kind=score.kind,
        threshold=float(np.quantile(scores, known_share, method="higher")),
        known_share=known_share,
        num_images=len(scores),
        quantiles=tuple(np.quantile(scores, np.arange(1, 10) / 10, method="higher").tolist()),
        auroc=None if choice is None else float(choice.aurocs[choice.kind].mean()),
    )
    return UnknownDetector(score, card)


def _record(
    detector: UnknownDetector, choice: UnknownChoice | None, classes: tuple[str, ...], reason: str
) -> UnknownRecord:
    card = detector.card
    record = UnknownRecord(
        kind=card.kind,
        threshold=card.threshold,
        known_share=card.known_share,
        num_images=card.num_images,
        reason=reason,
    )
    if choice is None:
        return record
    edges, aurocs = choice.edges.tolist(), choice.aurocs[choice.kind].tolist()
    return replace(
        record,
        kinds=tuple(
            KindFigures(kind=kind, auroc=float(found.mean()), low=float(found.min()), high=float(found.max()))
            for kind, found in choice.aurocs.items()
        ),
        left_out=tuple(
            LeftOutClass(name=classes[index], auroc=value, num_images=number)
            for index, value, number in sorted(zip(choice.classes, aurocs, choice.num_images, strict=True))
        ),
        bins=tuple(
            ScoreBin(low=low, high=high, known=known, left_out=left_out)
            for low, high, known, left_out in zip(
                edges[:-1], edges[1:], choice.known.tolist(), choice.left_out.tolist(), strict=True
            )
        ),
    )


def measured_unknown(fitted: FittedUnknown, scored: ScoredPass) -> UnknownRecord | None:
    """What ``results.json`` holds of the unknown score, with what its threshold holds on the final images."""
    detector, record = fitted.detector, fitted.record
    if record is None:
        return None
    effect = scored.unknown
    if effect is None and detector is not None and fitted.scores is not None and scored.images.split == "val":
        effect = unknown_effect(fitted.scores, detector.card.kind, detector.card.threshold)
    return replace(record, split=str(scored.images.split), measured=effect)


def show_unknown(terminal: Terminal, record: UnknownRecord | None) -> None:
    """Prints which score it is, how well it does, and how many images count as unknown; or why there is none."""
    if record is None:
        return
    if not record.kind:
        terminal.info(f"no unknown score: {record.reason}")
        return
    terminal.info(describe_choice(record))
    if record.measured is not None:
        same = ", the images that the threshold was fitted on" if record.split == "val" else ""
        terminal.info(f"{describe_unknown(record.measured)}, on {record.split}{same}")
