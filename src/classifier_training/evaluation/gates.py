"""Gates: scores that a model must reach, and a baseline that must not be better on the same images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from classifier_training.errors import ConfigError, GateError
from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.results.decision_effect import DECISION_SCORES, decision_scores

if TYPE_CHECKING:
    from classifier_training.config.overrides import OverrideLike
    from classifier_training.metrics.intervals import Interval
    from classifier_training.results.scored_pass import ScoredPass
    from classifier_training.types import Progress, TestTimeAugmentation

DEFAULT_SIGNIFICANCE: Final = 0.05


@dataclass(frozen=True, slots=True)
class GateResult:
    """The result of one gate.

    Attributes:
        gate: The condition.
        passed: Whether the model meets it.
        message: What was measured and required, human-readable.
        figures: The same as plain values.
    """

    gate: str
    passed: bool
    message: str
    figures: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"gate": self.gate, "passed": self.passed, **self.figures}


@dataclass(frozen=True, slots=True)
class Minimum:
    """A score that must be reached.

    Attributes:
        score: One of `SCORE_TITLES`, or of `DECISION_SCORES`.
        value: The lowest that passes, in [0, 1].

    Raises:
        ConfigError: The score is unknown, or the value is out of range.
    """

    score: str
    value: float

    def __post_init__(self) -> None:
        allowed = (*SCORE_TITLES, *DECISION_SCORES)
        if self.score not in allowed:
            raise ConfigError(f"--min {self.score}={self.value:g}: unknown score; allowed: {', '.join(allowed)}")
        if not 0 <= self.value <= 1:
            raise ConfigError(f"--min {self.score}={self.value:g}: a score is a number from 0 to 1")

    @classmethod
    def parse(cls, text: str) -> Minimum:
        """Reads ``top1=0.9``.

        Raises:
            ConfigError: It has another form, or as above.
        """
        score, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"--min {text}: write a score and a value, such as top1=0.9")
        try:
            number = float(value)
        except ValueError:
            raise ConfigError(f"--min {text}: {value!r} is not a number; a score is a number from 0 to 1") from None
        return cls(score.strip(), number)


@dataclass(frozen=True, slots=True)
class NotWorseThan:
    """A baseline that must not be better.

    Attributes:
        other: A run folder, a model file, or an evaluation folder with its ``predictions.csv``.
        significance: The baseline is better when it is correct more often with a p-value below this, in (0, 1).

    Raises:
        ConfigError: The significance is out of range.
    """

    other: Path
    significance: float = DEFAULT_SIGNIFICANCE

    def __post_init__(self) -> None:
        if not 0 < self.significance < 1:
            raise ConfigError(f"--significance {self.significance:g}: must be a number between 0 and 1, such as 0.05")


def check_minimum(scored: ScoredPass, gate: Minimum) -> GateResult:
    """Compares a score with its minimum.

    Raises:
        ConfigError: The model has no threshold that the score is about.
    """
    if gate.score in DECISION_SCORES:
        measured, interval = _decision_score(scored, gate)
    else:
        measured, interval = scored.scores.by_name()[gate.score], scored.intervals.by_name()[gate.score]
    passed = measured >= gate.value
    relation = "reaches" if passed else "is below"
    within = "" if interval is None else f" (95 % interval {interval[0]:.4f} to {interval[1]:.4f})"
    within += "" if scored.tta == "none" else f", with test-time augmentation {scored.tta}"
    return GateResult(
        gate=f"min {gate.score}={gate.value!r}",
        passed=passed,
        message=f"{gate.score} {_exactly(measured, gate.value)} {relation} the required {gate.value!r}{within}",
        figures={
            "measured": measured,
            "required": gate.value,
            "interval": None if interval is None else list(interval),
        },
    )


def _decision_score(scored: ScoredPass, gate: Minimum) -> tuple[float, Interval | None]:
    value, interval = decision_scores(scored.decision).get(gate.score, (None, None))
    if value is not None:
        return value, interval
    if gate.score == "set_coverage":
        reason = "the model has no prediction sets; train it with decision.set_coverage"
    elif scored.decision is None or scored.decision.abstention is None:
        reason = "the model never abstains; give --target-precision or --target-coverage"
    else:
        reason = "the model abstains from all of these photos"
    raise ConfigError(f"--min {gate.score}={gate.value:g}: {reason}")


def check_not_worse(
    scored: ScoredPass, gate: NotWorseThan, overrides: OverrideLike = (), *, scoring: Progress | None = None
) -> GateResult:
    """Compares with a baseline on the same images, by McNemar's exact test.

    Where its predictions of these images are missing, the baseline is scored with the overrides; with the test-time
    augmentation of the pass, without which an earlier evaluation is refused.

    Raises:
        UserError: The baseline cannot be scored on these images, or its predictions are of others.
    """
    from classifier_training.evaluation.baseline import baseline_is_correct, check_baseline
    from classifier_training.metrics.paired import compare_paired

    check_baseline(gate.other, scored.tta)
    baseline = baseline_is_correct(gate.other, scored.images, overrides, tta=scored.tta, scoring=scoring)
    found = compare_paired(scored.predictions.is_correct, baseline.is_correct)
    passed = not (found.num_only_second > found.num_only_first and found.p_value < gate.significance)
    relation = "is not significantly better" if passed else "is better"
    return GateResult(
        gate=f"not worse than {gate.other}",
        passed=passed,
        message=f"{gate.other} {relation}: of {found.num_images} photos, {baseline.how}, only it is correct on"
        f" {found.num_only_second} and only this model on {found.num_only_first}; p = {found.p_value:.3g},"
        f" significance {gate.significance:g}",
        figures={
            "num_images": found.num_images,
            "paired": baseline.how,
            "only_this_right": found.num_only_first,
            "only_other_right": found.num_only_second,
            "p_value": found.p_value,
            "significance": gate.significance,
        },
    )


def check_gates(
    scored: ScoredPass,
    gates: Iterable[Minimum | NotWorseThan],
    overrides: OverrideLike = (),
    *,
    scoring: Progress | None = None,
) -> list[GateResult]:
    """The results of the gates, in order; arguments and errors as of `check_not_worse`."""
    return [
        check_minimum(scored, gate)
        if isinstance(gate, Minimum)
        else check_not_worse(scored, gate, overrides, scoring=scoring)
        for gate in gates
    ]


def require_passed(results: Iterable[GateResult]) -> None:
    """Raises an error if a gate failed.

    Raises:
        GateError: One line for each gate that failed.

    Example:
        .. code-block:: python

            evaluation = evaluate("runs/shirts", output="evaluations/shirts")
            require_passed(check_gates(evaluation, [Minimum("top1", 0.9), NotWorseThan(Path("runs/last-week"))]))
    """
    failed = [f"gate failed: {result.message}" for result in results if not result.passed]
    if failed:
        raise GateError("\n".join(failed))


def parse_gates(
    minima: Sequence[str],
    other: str | os.PathLike[str] | None,
    significance: float,
    tta: TestTimeAugmentation = "none",
) -> list[Minimum | NotWorseThan]:
    """Reads the gates of the command line: minima such as ``top1=0.9``, and a baseline; None: no comparison.

    ``tta`` is the test-time augmentation of the scores that will be compared.

    Raises:
        UserError: One of them is not valid.
    """
    gates: list[Minimum | NotWorseThan] = [Minimum.parse(text) for text in minima]
    if other is None and significance != DEFAULT_SIGNIFICANCE:
        raise ConfigError(f"--significance {significance:g} is for --not-worse-than RUN, which is not given")
    if other is None:
        return gates
    gates.append(NotWorseThan(Path(other), significance))
    from classifier_training.evaluation.baseline import check_baseline  # now: scoring a model may take an hour

    check_baseline(Path(other), tta)
    return gates


def _exactly(measured: float, required: float) -> str:
    """Four digits, or as many as distinguish a score from the required one."""
    short = f"{measured:.4f}"
    return short if (float(short) >= required) == (measured >= required) else repr(measured)
