"""The unknown score of a model: records of ``scores.json`` and ``results.json``."""

from __future__ import annotations

from dataclasses import dataclass, field

from classifier_training.run.records import Count, Interval, Items, Number, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEffect:
    """How many of the images that were scored count as unknown.

    Attributes:
        kind: Which score.
        threshold: An image counts as unknown where its score is above this.
        num_images: Number of images.
        num_unknown: How many of them count as unknown.
        share: Share of them that does.
        interval: Of it: Wilson's, of 95 %.
    """

    kind: str
    threshold: Number
    num_images: Count
    num_unknown: Count
    share: Share
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFigures:
    """How well a score tells classes apart that were left out.

    Attributes:
        kind: Which score.
        auroc: Probability that an image of such a class scores higher than another one; the mean over the classes.
        low: That of the class where it is the lowest.
        high: That of the class where it is the highest.
    """

    kind: str
    auroc: Share
    low: Share
    high: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutClass:
    """A class that the chosen score was fitted without.

    Attributes:
        name: The class.
        auroc: Probability that an image of it scores higher than one of the other classes.
        num_images: Number of its validation images.
    """

    name: str = field(metadata={"alias": "class"})
    auroc: Share
    num_images: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreBin:
    """Validation images whose score lies in an interval, each seen by a score that was fitted without some classes.

    Attributes:
        low: Its lower end; the first bin has also those below.
        high: Its upper end; the last bin has also those above.
        known: Number of images of the other classes.
        left_out: Number of images of the classes that were left out.
    """

    low: Number
    high: Number
    known: Count
    left_out: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownRecord:
    """The unknown score of the best weights.

    Attributes:
        kind: Which score; empty where there is none.
        threshold: An image counts as unknown where its score is above this.
        known_share: Share of the validation images that is to count as known.
        num_images: Number of validation images that the threshold was fitted on.
        num_reference: Number of training images whose features were used.
        reason: Why there is no score, or why it was not chosen by leaving out classes; empty where it was.
        kinds: What each score reached; empty where none was chosen.
        left_out: The classes that were left out, and what the chosen score reached.
        bins: Of the chosen score.
        split: Which split ``measured`` is of: ``test``, or ``val`` where there is no other.
        measured: What the threshold holds there; None where it was not measured.
    """

    kind: str = ""
    threshold: Number = 0.0
    known_share: Share = 0.0
    num_images: Count = 0
    num_reference: Count = 0
    reason: str = ""
    kinds: Items[KindFigures] = ()
    left_out: Items[LeftOutClass] = ()
    bins: Items[ScoreBin] = ()
    split: str = "test"
    measured: UnknownEffect | None = None

    @property
    def chosen(self) -> KindFigures | None:
        """The figures of the chosen score; None where none was chosen."""
        return next((one for one in self.kinds if one.kind == self.kind), None)
