"""What thresholds on probabilities hold: records of ``scores.json`` and ``results.json``."""

from __future__ import annotations

from dataclasses import dataclass, field

from classifier_training.run.records import Count, Interval, Items, Number, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionFigures:
    """What follows from answering only where the confidence reaches a threshold; intervals are Wilson's, of 95 %.

    Attributes:
        threshold: The lowest confidence that is answered; 0: all are.
        num_images: Number of images.
        num_answered: How many of them are answered.
        coverage: Share of the images that are answered.
        coverage_interval: Of it.
        precision: Share of the answers that is correct; None where there is no answer.
        precision_interval: Of it.
    """

    threshold: Share
    num_images: Count
    num_answered: Count
    coverage: Share
    coverage_interval: Interval
    precision: Share | None = None
    precision_interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFigures:
    """What prediction sets hold.

    Attributes:
        method: ``lac`` or ``raps``.
        threshold: Of the method: the lowest probability of a class (LAC), or its highest score (RAPS).
        num_images: Number of images.
        coverage: Share of the images whose true class is in their set.
        coverage_interval: Wilson's, of 95 %.
        mean_size: Mean number of classes in a set; None where that is not known.
        empty: Share of the sets without any class; None where that is not known.
        single: Share of the sets of one class; None where that is not known.
    """

    method: str
    threshold: Number
    num_images: Count
    coverage: Share
    coverage_interval: Interval
    mean_size: Number | None = None
    empty: Share | None = None
    single: Share | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEffect:
    """What the thresholds of a model hold on the images that were scored.

    Attributes:
        abstention: Where it answers; None: it never abstains.
        sets: Its prediction sets; None: it has none.
    """

    abstention: AbstentionFigures | None = None
    sets: SetFigures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """The thresholds of the best weights, fitted on the validation split, and what they hold.

    Attributes:
        num_images: Number of validation images they were fitted on.
        abstain_threshold: The lowest confidence that is answered; None: the model never abstains.
        target_precision: What was asked for; None: nothing.
        target_coverage: What was asked for; None: nothing.
        set_threshold: The lowest probability of a class in a prediction set; None: there are no sets.
        set_coverage: How often the true class is to be in its set; None: no sets were asked for.
        set_interval: Between which shares so many validation images leave that, with 95 % probability.
        reasons: Why a threshold that was asked for could not be fitted.
        split: Which split ``measured`` is of: ``test``, or ``val`` where there is no other.
        num_folds: Of how many folds of a cross-validation the validation images are, for the final model, which is not
            measured: all its images were trained on; 0: they are its own.
        validation: What the thresholds hold on the images that they were fitted on.
        measured: What they hold on the images of the final scores.
        raps: Sets of another method for the same coverage, on the images of the final scores, to compare; its
            threshold is not in the model.
    """

    num_images: Count
    abstain_threshold: Share | None = None
    target_precision: Share | None = None
    target_coverage: Share | None = None
    set_threshold: Share | None = None
    set_coverage: Share | None = None
    set_interval: Interval | None = None
    reasons: Items[str] = ()
    split: str = "test"
    num_folds: Count = 0
    validation: DecisionEffect = field(default_factory=DecisionEffect)
    measured: DecisionEffect = field(default_factory=DecisionEffect)
    raps: SetFigures | None = None
