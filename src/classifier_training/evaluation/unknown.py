"""Unknown scores of the images that a model scores, computed from what its last layer gets and gives meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.head_features import linear_classifier
from classifier_training.models.unknown import UnknownDetector
from classifier_training.results.unknown_effect import unknown_effect
from classifier_training.results.unknown_file import UnknownEffect


@dataclass(eq=False)
class WatchedScores:
    """The scores of the images so far.

    Attributes:
        detector: Whose scores they are; None: of no one, and there are none.
        parts: float32 (B,) of each batch.
    """

    detector: UnknownDetector | None
    parts: list[NDArray[np.float32]] = field(default_factory=list)

    def effect(self, num_images: int) -> UnknownEffect | None:
        """How many of so many images count as unknown; None where the scores are not those of all of them."""
        if self.detector is None or not num_images or sum(map(len, self.parts)) != num_images:
            return None
        card = self.detector.card
        return unknown_effect(np.concatenate(self.parts), card.kind, card.threshold)


@contextlib.contextmanager
def watched_scores(model: nn.Module) -> Iterator[WatchedScores]:
    """Computes the unknown scores of all images that a model with such a score gets, once an image."""
    detector = model.unknown if isinstance(model, BaseClassificationModel) else None
    watched = WatchedScores(detector)
    if detector is None or not isinstance(model, BaseClassificationModel):
        yield watched
        return
    score, layer = detector.score, cast("nn.Module", model)
    if score.needs_features:
        layer = linear_classifier(model.backbone, model.preprocessing.image_size)

    def add(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        features = inputs[0].detach().float().cpu().numpy() if score.needs_features else None
        watched.parts.append(score(output.detach().float().cpu().numpy(), features))

    handle = layer.register_forward_hook(add)
    try:
        yield watched
    finally:
        handle.remove()
