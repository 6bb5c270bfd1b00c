"""``scores.json``: the scores of one pass over labelled images, and what they are scores of."""

from __future__ import annotations

from dataclasses import dataclass, field

from classifier_training.results.decision_file import DecisionEffect
from classifier_training.results.unknown_file import UnknownEffect
from classifier_training.run.records import FORMAT, Count, Format, Interval, Items, Number, Share
from classifier_training.types import TestTimeAugmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """The scores of one class.

    Attributes:
        name: The class.
        precision: None if it was never predicted.
        recall: None if there is no image of it.
        f1: None if it occurs nowhere.
        support: Number of images of it.
        precision_interval: At the confidence level of the scores; None where there is no precision.
        recall_interval: The same of the recall.
    """

    name: str = field(metadata={"alias": "class"})
    precision: Share | None
    recall: Share | None
    f1: Share | None
    support: Count
    precision_interval: Interval | None = None
    recall_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The images whose confidence lies in (low, high]; the first bin has those of confidence 0, too.

    Attributes:
        low: Lower edge.
        high: Upper edge.
        count: Number of images.
        confidence: Their mean confidence; None without images.
        accuracy: Share of them that is predicted correctly; None without images.
    """

    low: Share
    high: Share
    count: Count
    confidence: Share | None
    accuracy: Share | None


@dataclass(frozen=True, slots=True)
class CalibrationBins:
    """Confidence against accuracy.

    Attributes:
        expected_calibration_error: Mean distance of both over the images; None where it is not known.
        bins: Of equal width, from 0 to 1; empty where they are not known.
    """

    expected_calibration_error: Share | None = None
    bins: Items[CalibrationBin] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFigures:
    """How well the confidence fits the accuracy.

    Attributes:
        error: The expected calibration error.
        interval: Of it, at the confidence level of the scores.
        log_loss: Mean of minus the logarithm of the true class's probability; None: it is infinite.
    """

    error: Share
    interval: Interval
    log_loss: Number | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperatureEffect:
    """What the temperature of a model changes on the images that were scored.

    Attributes:
        temperature: What its logits were divided by.
        after: With the temperature.
        before: Without it; None: that was not computed, as with test-time augmentation.
        bins_before: The calibration without it; empty where ``before`` is None.
    """

    temperature: Number
    after: CalibrationFigures
    before: CalibrationFigures | None = None
    bins_before: Items[CalibrationBin] = ()


@dataclass(frozen=True, slots=True)
class CoveragePoint:
    """What follows from answering only where the confidence reaches a threshold.

    Attributes:
        threshold: The lowest confidence that is answered.
        coverage: Share of the images that are answered.
        accuracy: Share of these that is predicted correctly; None where none is answered.
    """

    threshold: Share
    coverage: Share
    accuracy: Share | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresFile:
    """One pass of a model over labelled images; scores are in [0, 1].

    Attributes:
        format: Version of the file.
        description: Which images were scored, human-readable.
        split: ``train``, ``val``, ``test``, or None for other images.
        epoch: Of the weights, from 0; None where it is not known.
        model: What was scored: a file, or the model in training.
        classes: K names, at least one.
        num_images: Number of images.
        top1: Share whose most probable class is the true one.
        top5: Share whose true class is among the five most probable.
        balanced_accuracy: Mean recall of the classes that have images.
        macro_f1: Mean F1 of the classes that occur.
        confidence_level: Of all intervals, such as 0.95.
        intervals: By the names in `SCORE_TITLES`; None where a score has none.
        per_class: K of them.
        calibration: Confidence against accuracy.
        coverage: By ascending threshold; empty where it is not known.
        num_trained_on: How many of the images the model was trained on.
        left_out: Files that could not be read.
        precision: ``float32``, as the deployed file answers, or the training's; None where it is not known.
        content: Hash over the images' contents and paths, see `LabelledImages.content`; None where it is not known.
        copies: Messages about copies among the images, see `LabelledImages.copies`.
        trained_on: The first of the images that the model was trained on.
        tta: The test-time augmentation; ``none`` in files of versions that had none.
        weights: What the weights are, where they are not those of an epoch; None: those of the epoch.
        temperature: Of the probabilities, and its effect; None: they are the softmax of the logits as they are.
        decision: What the thresholds of the model hold; None: it has none.
        unknown: How many images count as unknown; None: the model has no such score, or it was not computed.
    """

    format: Format = FORMAT
    description: str
    split: str | None
    epoch: Count | None
    model: str
    classes: Items[str]
    num_images: Count
    top1: Share
    top5: Share
    balanced_accuracy: Share
    macro_f1: Share
    confidence_level: Share
    intervals: dict[str, Interval | None]
    per_class: Items[ClassRow]
    calibration: CalibrationBins
    coverage: Items[CoveragePoint]
    num_trained_on: Count
    left_out: Items[str]
    precision: str | None = None
    content: str | None = None
    copies: Items[str] = ()
    trained_on: Items[str] = ()
    tta: TestTimeAugmentation = "none"
    weights: str | None = None
    temperature: TemperatureEffect | None = None
    decision: DecisionEffect | None = None
    unknown: UnknownEffect | None = None

    def __post_init__(self) -> None:
        if not self.classes or tuple(row.name for row in self.per_class) != self.classes:
            raise ValueError("has other classes in per_class than in classes")
