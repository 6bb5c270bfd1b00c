"""`ScoredPass`: one pass of a model over labelled images, made once by whoever scores and taken whole by all others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifier_training.metrics.intervals import ScoreIntervals
from classifier_training.metrics.scores import Predictions, Scores
from classifier_training.results.decision_file import DecisionEffect
from classifier_training.results.scores_file import TemperatureEffect
from classifier_training.results.unknown_file import UnknownEffect
from classifier_training.types import ImageRecord, Preprocessing, Split, TestTimeAugmentation

NUM_EXAMPLES = 24
"""How many of the worst errors and of the least certain images are shown where nothing else is set."""

Cam = Callable[[list[int]], Mapping[int, NDArray[np.float32]]]
"""Positions of images to their Grad-CAM maps: float32 (h, w) in [0, 1], by position."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """N images whose true classes are known.

    Attributes:
        files: N names of the images; their positions where nothing else is known.
        labels: int64 (N,), true class indices.
        classes: K class names, in class order.
        description: Which images these are, human-readable.
        split: Which split they are; None where they belong to none.
        records: Where the N images are; None where that is unknown.
        digests: N content hashes; empty where they are unknown.
        left_out: Files of the data set that could not be read.
        copies: Messages about images of one content under several labels, and about those that are listed again.
    """

    files: Sequence[str]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    description: str
    split: Split | None = None
    records: Sequence[ImageRecord] | None = None
    digests: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()

    @property
    def content(self) -> str | None:
        """Hash over the images' contents by their paths below the folder of all; None where contents are unknown."""
        if not self.digests:
            return None
        start = len(os.path.dirname(os.path.commonprefix(self.files)))  # noqa: PTH120, RUF071 - of any machine
        rows = sorted(f"{file[start:]}\0{digest}" for file, digest in zip(self.files, self.digests, strict=True))
        return hashlib.blake2b("\0".join(rows).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPass:
    """One pass of a model over labelled images.

    Attributes:
        images: The N images.
        model: What was scored: a file, or the model in training.
        scores: The scores.
        predictions: The prediction of each image.
        intervals: The intervals of the scores.
        preprocessing: How the model saw the images; None where that is unknown.
        epoch: After which epoch of a training, from 0, or in it; None where that is unknown.
        step: After which step, in the middle of that epoch; None at its end, and outside of a training.
        num_trained_on: How many of the images the model was trained on, byte for byte.
        trained_on: The first of these.
        cam: Gives the Grad-CAM maps of some images; None: they are not shown.
        num_examples: How many of the worst errors and of the least certain images are shown.
        precision: The arithmetic: ``float32``, as the deployed file answers, ``fp16`` or ``int8`` of a file of that
            form, or the training's, such as ``bf16-mixed``; None where that is unknown.
        tta: The test-time augmentation: over which views of an image the probabilities are the mean.
        weights: What the weights are, where they are not those of an epoch; None: those of the epoch.
        temperature: Of the probabilities, and its effect; None: they are the softmax of the logits as they are.
        decision: What the thresholds of the model hold; None: it has none.
        unknown: How many images count as unknown; None: the model has no such score, or it was not computed.
    """

    images: LabelledImages
    model: str
    scores: Scores
    predictions: Predictions
    intervals: ScoreIntervals
    preprocessing: Preprocessing | None = None
    epoch: int | None = None
    step: int | None = None
    num_trained_on: int = 0
    trained_on: tuple[str, ...] = ()
    cam: Cam | None = None
    num_examples: int = NUM_EXAMPLES
    precision: str | None = None
    tta: TestTimeAugmentation = "none"
    weights: str | None = None
    temperature: TemperatureEffect | None = None
    decision: DecisionEffect | None = None
    unknown: UnknownEffect | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """K class names, in class order."""
        return self.images.classes

    @property
    def description(self) -> str:
        """Which images were scored, human-readable."""
        return self.images.description

    @property
    def title(self) -> str:
        """The title of a figure: which images, after which epoch or step, and how well."""
        when = "" if self.epoch is None else f" after epoch {self.epoch + 1}"
        when = when if self.step is None else f" after step {self.step}"
        when = when if self.weights is None else f", {self.weights}"
        when += "" if self.tta == "none" else f", with test-time augmentation {self.tta}"
        return f"{self.description}{when}: top-1 {self.scores.top1:.2%} of {self.scores.num_images} images"
