"""Scores an exported model on labelled images, as `evaluation.checkpoint` does a checkpoint, but without torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from classifier_training.evaluation.decision import effect_of
from classifier_training.evaluation.photos import Chooser, with_limit
from classifier_training.inference.classifier import OnnxClassifier
from classifier_training.inference.foreign import Description
from classifier_training.inference.session import FORM_ENTRY, LOGITS, UNKNOWN_SCORE
from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.intervals import score_intervals
from classifier_training.metrics.scores import Predictions, Scores, check_finite
from classifier_training.results.scored_pass import NUM_EXAMPLES, LabelledImages, ScoredPass
from classifier_training.results.temperature_effect import temperature_effect
from classifier_training.results.unknown_effect import unknown_effect
from classifier_training.results.unknown_file import UnknownEffect
from classifier_training.run.folder import FP16, INT8
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
    scores, predictions, unknown = _score_images(classifier, images, preprocessing, batch_size, tta, progress)
    form = classifier.metadata.get(FORM_ENTRY)
    return ScoredPass(
        images=images,
        model=str(path),
        scores=scores,
        predictions=predictions,
        intervals=score_intervals(scores),
        preprocessing=preprocessing,
        num_examples=NUM_EXAMPLES if config is None else config.report.num_pictures,
        precision=form if form in (FP16, INT8) else "float32",
        tta=tta,
        temperature=temperature_effect(predictions, classifier.card.temperature),
        decision=effect_of(predictions, classifier.card.decision),
        unknown=unknown,
    )


def _score_images(
    classifier: OnnxClassifier,
    images: LabelledImages,
    preprocessing: Preprocessing,
    batch_size: int,
    tta: TestTimeAugmentation,
    progress: Progress | None,
) -> tuple[Scores, Predictions, UnknownEffect | None]:
    records, is_raw, card = images.records or (), tta == "none", classifier.card
    has_score = is_raw and card.unknown is not None and UNKNOWN_SCORE in classifier.further_outputs
    scoring = ScoringPass(len(classifier.classes), temperature=card.temperature if is_raw else None)
    unknown = list[NDArray[np.float32]]()
    passes: Iterable[tuple[list[int], dict[str, NDArray[np.float32]]]]
    if is_raw:
        further = (UNKNOWN_SCORE,) if has_score else ()
        passes = classifier.outputs_of_files(records, batch_size, preprocessing.decoding, further)
    else:
        logits_only = classifier.logits_of_files(records, batch_size, decoding=preprocessing.decoding, tta=tta)
        passes = ((positions, {LOGITS: logits}) for positions, logits in logits_only)
    for positions, outputs in passes:
        check_finite(outputs[LOGITS], str(classifier.path), [images.files[position] for position in positions])
        scoring.update(outputs[LOGITS], images.labels[positions])
        if has_score:
            unknown.append(outputs[UNKNOWN_SCORE])
        if progress is not None:
            progress(scoring.num_images, len(records))
    scores, predictions = scoring.result()
    if card.unknown is None or not unknown:
        return scores, predictions, None
    return scores, predictions, unknown_effect(np.concatenate(unknown), card.unknown.kind, card.unknown.threshold)
