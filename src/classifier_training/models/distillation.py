"""Distillation: a model learns from the predictions of another one, its teacher (Hinton et al. 2015, arXiv 1503.02531).

Letters: B batch size, K number of classes, S image size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from classifier_training.errors import ModelError
from classifier_training.files.text import name_some
from classifier_training.models.base import BaseClassificationModel
from classifier_training.types import Preprocessing


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Distance of the predictions from those of a teacher, both softened: T² KL(softmax(t/T) ‖ softmax(z/T)).

    The factor T² keeps the size of the gradients, whatever the temperature.

    Args:
        logits: z, float (B, K).
        teacher_logits: t, float (B, K).
        temperature: T > 0.

    Returns:
        Scalar, the mean over the batch.
    """
    log_predicted = F.log_softmax(logits.float() / temperature, dim=1)
    log_wanted = F.log_softmax(teacher_logits.float() / temperature, dim=1)
    return F.kl_div(log_predicted, log_wanted, reduction="batchmean", log_target=True) * temperature**2


class Distillation:
    """A teacher, and how much of it a loss takes: (1 − w) × loss + w × `distillation_loss`.

    It is not a module, so that the teacher is in no checkpoint, average or optimizer of the model. The teacher is in
    evaluation mode, and sees the images that the model sees, mixed ones too: in its own normalisation, and resized
    (bilinear, with antialiasing) where its image size is another one.

    Args:
        teacher: The model.
        classes: Class names of the model that learns, in class order.
        preprocessing: Of its images.
        weight: w in (0, 1].
        temperature: T > 0.
        name: Of the teacher, for a message.

    Raises:
        ModelError: The teacher has other classes.
    """

    def __init__(
        self,
        teacher: BaseClassificationModel,
        classes: Sequence[str],
        preprocessing: Preprocessing,
        weight: float = 0.5,
        temperature: float = 2.0,
        name: str = "the teacher",
    ) -> None:
        check_teacher_classes(name, teacher.classes, classes)
        self.teacher = teacher.eval().requires_grad_(requires_grad=False)
        self.weight, self.temperature = weight, temperature
        self._image_size = teacher.preprocessing.image_size
        theirs = teacher.preprocessing
        order = [teacher.classes.index(one) for one in classes]
        self._order = None if order == list(range(len(order))) else torch.tensor(order)
        self._scale = self._offset = None
        if (theirs.mean, theirs.std) != (preprocessing.mean, preprocessing.std):
            mean, std, their_mean, their_std = (
                torch.tensor(values, dtype=torch.float64).view(3, 1, 1)
                for values in (preprocessing.mean, preprocessing.std, theirs.mean, theirs.std)
            )
            self._scale, self._offset = (std / their_std).float(), ((mean - their_mean) / their_std).float()

    def add_to(self, loss: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """The loss of a batch with the teacher's part.

        Args:
            loss: Of the labels, a scalar.
            logits: Of the model that learns, float (B, K).
            images: Normalised as for this model, float (B, 3, S, S).
        """
        distance = distillation_loss(logits, self.logits(images), self.temperature)
        return (1.0 - self.weight) * loss + self.weight * distance

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """The teacher's logits of images of the model that learns, float (B, K), in its class order."""
        if self.teacher.device != images.device:
            self._move(images.device)
        if self._scale is not None and self._offset is not None:
            images = torch.addcmul(self._offset, images, self._scale)
        size = self._image_size
        if images.shape[-2:] != (size, size):
            images = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
        logits = cast("Tensor", self.teacher(images))
        return logits if self._order is None else logits.index_select(1, self._order)

    def _move(self, device: torch.device) -> None:
        """Moves the teacher to the device of the images, once."""
        self.teacher.to(device)
        self.teacher.use_memory_format()
        for name in ("_order", "_scale", "_offset"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else value.to(device))


def check_teacher_classes(name: str, theirs: Sequence[str], classes: Sequence[str]) -> None:
    """Makes sure that a teacher has the same classes, in any order.

    Raises:
        ModelError: It has others.
    """
    if sorted(theirs) == sorted(classes):
        return
    missing = [one for one in classes if one not in set(theirs)]
    reason = f"it does not know {name_some(missing)}" if missing else "it knows more"
    raise ModelError(
        f"distill.teacher={name} is a teacher with other classes: it has {len(theirs)} ({name_some(theirs)}), the"
        f" photos have {len(classes)} ({name_some(classes)}), and {reason}; give a run that was trained on these"
    )
