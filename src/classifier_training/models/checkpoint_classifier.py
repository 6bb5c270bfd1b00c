"""Predicts with a checkpoint, by PyTorch, as `Classifier` does with an exported file."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from classifier_training.errors import ModelError
from classifier_training.halving import Halving
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import Classifier
from classifier_training.inference.session import FEATURES, LOGITS, UNKNOWN_SCORE
from classifier_training.models.checkpoint import load_model
from classifier_training.models.head_features import backbone_features, linear_classifier
from classifier_training.models.precision import arithmetic

_THREADS: Final = 2  # one decodes while the other one holds the model, which uses all cores


class CheckpointClassifier(Classifier):
    """The model of a checkpoint, with its temperature and its decision, in exact float32.

    Args:
        path: The ``.ckpt`` file.

    Raises:
        CheckpointError: It is not a checkpoint that can be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._model = load_model(self.path)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device)
        self._lock = threading.Lock()
        self._num_workers = _THREADS
        self._takes_pixels = False
        self.metadata = {}
        self.card = DeploymentCard(
            tuple(self._model.classes),
            self._model.preprocessing,
            self._model.temperature,
            decision=self._model.decision,
            unknown=None if self._model.unknown is None else self._model.unknown.card,
        )
        self.classes = self.card.classes
        self.preprocessing = self.card.preprocessing
        self._halving = Halving("predicting")

    def run(
        self, images: NDArray[np.float32] | NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """As `Classifier.run`."""
        with self._lock, torch.inference_mode(), arithmetic(self._device, "float32"):
            batch = torch.from_numpy(images).to(self._device)
            found = {LOGITS: self._model(batch)}
            score = None if self._model.unknown is None or UNKNOWN_SCORE not in outputs else self._model.unknown.score
            if FEATURES in outputs or (score is not None and score.needs_features):
                found[FEATURES] = backbone_features(self._model.backbone, batch).float()
            values = {name: tensor.cpu().numpy() for name, tensor in found.items()}
        if score is not None:
            values[UNKNOWN_SCORE] = score(values[LOGITS], values.get(FEATURES))
        return {name: values[name] for name in outputs}

    @property
    def further_outputs(self) -> dict[str, int | None]:
        """As `Classifier.further_outputs`."""
        try:
            layer = linear_classifier(self._model.backbone, self.preprocessing.image_size)
            found: dict[str, int | None] = {FEATURES: layer.in_features}
        except ModelError:
            found = {}
        return found if self._model.unknown is None else found | {UNKNOWN_SCORE: None}
