"""The model of a server: prepares images, answers batches, and proves itself before anybody is answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import LargeImageError
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import preprocess
from classifier_training.inference.classifier import Classifier, softmax
from classifier_training.inference.decision import Decision
from classifier_training.inference.foreign import Description
from classifier_training.inference.self_test import check_self_test, read_self_test
from classifier_training.inference.session import FORM_ENTRY, LOGITS, UNKNOWN_SCORE
from classifier_training.run.folder import END_TO_END
from classifier_training.types import Prediction

MAX_DIFFERENCE: Final = 2.5e-7
"""Of a probability between an image alone and the same image in a batch: two batches differ by twice that at most."""


@dataclass(frozen=True, slots=True)
class ModelAnswer(Prediction):
    """A prediction, and what the model decides from it.

    Attributes:
        abstain: Whether it is not certain enough for an answer; None: the model never abstains.
        prediction_set: Of each class, whether the true one may be it; None: the model gives no sets.
        unknown_score: How little the image is like those of the training; None: the model has no such score.
        unknown: Whether it counts as unknown; None: as above.
    """

    abstain: bool | None = None
    prediction_set: tuple[bool, ...] | None = None
    unknown_score: float | None = None
    unknown: bool | None = None


class ServedModel:
    """An exported classifier, in the two halves that a batcher needs.

    Args:
        path: The ``.onnx`` file.
        max_pixels: An image with more is refused.
        num_threads: Threads of onnxruntime; None: one a core.
        description: As of `Classifier`.

    Attributes:
        classifier: What was opened.
        num_self_test_images: With how many pictures of its file it was proven; None before that.
    """

    def __init__(
        self, path: Path, max_pixels: int, num_threads: int | None = None, description: Description | None = None
    ) -> None:
        self.classifier = Classifier(path, num_threads, description)
        decoding = self.classifier.preprocessing.decoding
        known = math.inf if decoding.max_pixels is None else decoding.max_pixels
        self._decoding = replace(decoding, max_pixels=int(min(max_pixels, known)))
        self._takes_pixels = self.classifier.metadata.get(FORM_ENTRY) == END_TO_END
        self._decision = self.classifier.card.decision or Decision(num_images=1)
        has_score = UNKNOWN_SCORE in self.classifier.further_outputs
        self._unknown = self.classifier.card.unknown if has_score else None
        self.num_self_test_images: int | None = None

    @property
    def outputs(self) -> dict[str, str]:
        """What an answer has, by the names of `ModelAnswer`, with the types of the Open Inference Protocol."""
        decision = self._decision
        return {
            "label": "BYTES",
            "index": "INT64",
            "probability": "FP64",
            "probabilities": "FP64",
            **({} if decision.abstain_threshold is None else {"abstain": "BOOL"}),
            **({} if decision.set_threshold is None else {"prediction_set": "BOOL"}),
            **({} if self._unknown is None else {UNKNOWN_SCORE: "FP64", "unknown": "BOOL"}),
        }

    @property
    def classes(self) -> tuple[str, ...]:
        """K class names, in the order of the logits."""
        return self.classifier.classes

    def prepare(self, content: bytes) -> NDArray[Any]:
        """The model's input for the bytes of an image file, prepared as `predict` does.

        Raises:
            LargeImageError: It has too many pixels, which are counted before they are decoded.
            BadImageError: It is not an image.
        """
        try:
            image = decode_image(content, "the image", decoding=self._decoding)
        except LargeImageError:
            raise LargeImageError(
                f"the image has more than {self._decoding.max_pixels} pixels; send a smaller one"
            ) from None
        return self._input_of(image)

    def answer(self, inputs: Sequence[NDArray[Any]]) -> list[ModelAnswer | Exception]:
        """The predictions for inputs of one shape, which travel together, or why an image has none.

        Where a batch fails, its images are tried one by one, so that none fails because of another.
        """
        try:
            return list(self._predictions(inputs))
        except Exception as error:  # of onnxruntime, whose exceptions share no base class, or of the memory
            if len(inputs) == 1:
                return [error]
        return [answer for one in inputs for answer in self.answer([one])]

    def prove(self, max_batch: int) -> tuple[int, ...]:
        """Runs the self-test, and finds the sizes of batches in which an image has the answer that it has alone.

        Kernels for several images may round otherwise than those for one. A size is used only where it moves no
        probability of a self-test picture by more than `MAX_DIFFERENCE`, and no label.

        Args:
            max_batch: The largest size.

        Returns:
            The sizes, ascending; the first is 1.

        Raises:
            VerificationError: The model does not give the recorded answers.
            CheckpointError: Its logits are not finite numbers.
        """
        num_images = check_self_test(self.classifier)
        inputs = self._samples()
        alone = [answer for one in inputs for answer in self._predictions([one])]
        sizes = [1]
        while 2 * sizes[-1] <= max_batch:
            size = 2 * sizes[-1]
            order = [position % len(inputs) for position in range(size)]
            together = self.answer([inputs[position] for position in order])
            if not all(_is_same(alone[position], one) for position, one in zip(order, together, strict=True)):
                break
            sizes.append(size)
        self.num_self_test_images = num_images
        return tuple(sizes)

    def _samples(self) -> list[NDArray[Any]]:
        """Inputs of one shape: the self-test pictures, or one of noise."""
        classifier = self.classifier
        recorded = classifier.card.self_test
        if recorded is not None:
            images = read_self_test(recorded, classifier.classes, str(classifier.path)).images
            decoding = classifier.preprocessing.decoding  # the limit of pixels is for those who ask
            inputs = [self._input_of(decode_image(image.jpeg, "the image", decoding=decoding)) for image in images]
            return [one for one in inputs if one.shape == inputs[0].shape]
        noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        return [self._input_of(noise)]

    def _input_of(self, image: NDArray[np.uint8]) -> NDArray[Any]:
        return image if self._takes_pixels else preprocess(image, self.classifier.preprocessing)

    def _predictions(self, inputs: Sequence[NDArray[Any]]) -> list[ModelAnswer]:
        further = () if self._unknown is None else (UNKNOWN_SCORE,)
        found = self.classifier.calibrated_outputs(np.stack(inputs), further)
        logits = found[LOGITS]
        scores = None if self._unknown is None else found[UNKNOWN_SCORE].reshape(-1)
        probabilities, indices = softmax(logits), logits.argmax(axis=1).tolist()
        decided = self._decision.decide(probabilities)
        may_abstain = self._decision.abstain_threshold is not None
        columns = zip(
            indices,
            probabilities.tolist(),
            decided.abstain.tolist() if may_abstain else repeat(None),
            repeat(None) if decided.sets is None else map(tuple, decided.sets.tolist()),
            repeat(None) if scores is None else scores.tolist(),
            repeat(None) if scores is None or self._unknown is None else self._unknown.is_unknown(scores).tolist(),
            strict=False,
        )
        return [
            ModelAnswer(self.classes[index], row[index], index, tuple(row), None, *decisions)
            for index, row, *decisions in columns
        ]


def _is_same(alone: ModelAnswer, other: ModelAnswer | Exception) -> bool:
    if isinstance(other, Exception):
        return False
    difference = np.abs(np.subtract(alone.probabilities, other.probabilities)).max()
    return alone.label == other.label and bool(difference <= MAX_DIFFERENCE)
