"""Judges an open file by its accuracy on labelled images, beside that of the float32 model."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from classifier_training.errors import ExportError
from classifier_training.exporters.acceptance import AS_ACCURATE, Answers
from classifier_training.exporters.forms import ExportSettings, ProofImages
from classifier_training.exporters.proof import logits_of_model, reason_of_model, true_labels
from classifier_training.inference.session import LOGITS

_BATCH_SIZE: Final = 32


class JudgedLogits:
    """What a float32 model answers for images whose labels are known.

    Args:
        model: On the CPU, in evaluation mode, float32.
        images: Real images; those without a label are left out.

    Raises:
        ExportError: No image has a label, or a logit of the model is not a finite number.
    """

    def __init__(self, model: nn.Module, images: ProofImages) -> None:
        labels = true_labels(images)
        known = np.flatnonzero(labels >= 0)
        if not len(known):
            raise ExportError("an int8 file is judged by labelled validation images, and there are none")
        logits = logits_of_model(model, images)
        reason = reason_of_model(logits)
        if reason is not None:
            raise ExportError(reason)
        self.images: NDArray[np.float32] = images.prepared.numpy()[known]
        self._labels, self._logits = labels[known], logits[known]

    @property
    def top1(self) -> float:
        """The accuracy of the model."""
        return float((self._logits.argmax(axis=1) == self._labels).mean())

    def judge(self, session: Any, settings: ExportSettings) -> dict[str, Any]:
        """Runs an open file on the images.

        Returns:
            The figures of `Answers` and of `AS_ACCURATE`, ready for JSON, with ``passed`` and, where it is False,
            ``reason``.
        """
        name, starts = session.get_inputs()[0].name, range(0, len(self.images), _BATCH_SIZE)
        parts = [session.run([LOGITS], {name: self.images[start : start + _BATCH_SIZE]})[0] for start in starts]
        positions = np.arange(len(self.images))
        answers = Answers(_BATCH_SIZE, positions, np.concatenate(parts), self._logits, self._labels)
        further, reason = AS_ACCURATE.judge([answers], settings)
        figures = {**answers.figures(), **answers.accuracy(), **further, "passed": reason is None}
        return figures if reason is None else {**figures, "reason": reason}
