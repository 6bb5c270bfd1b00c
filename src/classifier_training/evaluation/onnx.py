"""Scores an exported model on labelled images, as `evaluation.checkpoint` does a checkpoint, but without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from classifier_training.evaluation.decision import effect_of
from classifier_training.evaluation.photos import Chooser, with_limit
from classifier_training.inference.classifier import OnnxClassifier
from classifier_training.inference.foreign import Description
from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.intervals import score_intervals
from classifier_training.metrics.scores import Predictions, Scores, check_finite
from classifier_training.results.scored_pass import NUM_EXAMPLES, LabelledImages, ScoredPass
from classifier_training.results.temperature_effect import temperature_effect
from classifier_training.types import Preprocessing, Progress, TestTimeAugmentation

if TYPE_CHECKING:
    from classifier_training.config.schema import Config


def score_onnx(
    path: Path,
    choose: Chooser,
    config: Config | None = None,
    *,
    max_pixels: int | None = None,
    tta: TestTimeAugmentation = "none",
    progress: Progress | None = None,
    description: Description | None = None,
) -> ScoredPass:
    """Scores an ONNX file on the images that ``choose`` gives once the classes are known; None: default settings.

    An image of more than ``max_pixels`` is refused; None: than the model was trained with. ``description`` is as of
    `Classifier`.

    Raises:
        BadImageError: A file is not an image.
        CheckpointError: Its logits are not finite numbers.
        DataError: There is no image to score.
    """
    classifier = OnnxClassifier(path, description=description)
    preprocessing = with_limit(classifier.preprocessing, config, max_pixels)
    images = choose(classifier.classes, preprocessing.decoding)
    batch_size = 32 if config is None else config.data.images_per_batch
    scores, predictions = _score_images(classifier, images, preprocessing, batch_size, tta, progress)
    return ScoredPass(
        images=images,
        model=str(path),
        scores=scores,
        predictions=predictions,
        intervals=score_intervals(scores),
        preprocessing=preprocessing,
        num_examples=NUM_EXAMPLES if config is None else config.report.num_pictures,
        precision="float32",
        tta=tta,
        temperature=temperature_effect(predictions, classifier.card.temperature),
        decision=effect_of(predictions, classifier.card.decision),
    )


def _score_images(
    classifier: OnnxClassifier,
    images: LabelledImages,
    preprocessing: Preprocessing,
    batch_size: int,
    tta: TestTimeAugmentation,
    progress: Progress | None,
) -> tuple[Scores, Predictions]:
    records, is_raw = images.records or (), tta == "none"
    scoring = ScoringPass(len(classifier.classes), temperature=classifier.card.temperature if is_raw else None)
    passes = classifier.logits_of_files(records, batch_size, decoding=preprocessing.decoding, tta=tta, raw=is_raw)
    for positions, logits in passes:
        check_finite(logits, str(classifier.path), [images.files[position] for position in positions])
        scoring.update(logits, images.labels[positions])
        if progress is not None:
            progress(scoring.num_images, len(records))
    return scoring.result()
