"""What a model must reach: scores, and not to be worse than another model on the same photos."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from classifier_training.errors import ConfigError, GateError
from classifier_training.metrics.score_names import SCORE_TITLES

if TYPE_CHECKING:
    from classifier_training.config.overrides import OverrideLike
    from classifier_training.results.scored_pass import ScoredPass
    from classifier_training.types import Progress

DEFAULT_SIGNIFICANCE: Final = 0.05


@dataclass(frozen=True, slots=True)
class GateResult:
    """What came of one gate.

    Attributes:
        gate: What was asked.
        passed: Whether the model is as good as that.
        message: What was measured, and what was required, for a person.
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
        score: One of `SCORE_TITLES`.
        value: The least that passes, in [0, 1].

    Raises:
        ConfigError: There is no such score, or the value is out of range.
    """

    score: str
    value: float

    def __post_init__(self) -> None:
        if self.score not in SCORE_TITLES:
            raise ConfigError(
                f"--min {self.score}={self.value:g}: there is no such score; allowed: {', '.join(SCORE_TITLES)}"
            )
        if not 0 <= self.value <= 1:
            raise ConfigError(f"--min {self.score}={self.value:g}: a score is a number from 0 to 1")

    @classmethod
    def parse(cls, word: str) -> Minimum:
        """Reads ``top1=0.9``.

        Raises:
            ConfigError: It is not of that form, or as above.
        """
        score, sign, value = word.partition("=")
        if not sign:
            raise ConfigError(f"--min {word}: write a score and a value, such as top1=0.9")
        try:
            number = float(value)
        except ValueError:
            raise ConfigError(f"--min {word}: {value!r} is not a number; a score is a number from 0 to 1") from None
        return cls(score.strip(), number)


@dataclass(frozen=True, slots=True)
class NotWorseThan:
    """Another model that must not be better.

    Attributes:
        other: A run folder, a model file, or an evaluation folder with its ``predictions.csv``.
        significance: The other is better when it is right more often with a smaller p-value than this, in (0, 1).

    Raises:
        ConfigError: The significance is out of range.
    """

    other: Path
    significance: float = DEFAULT_SIGNIFICANCE

    def __post_init__(self) -> None:
        if not 0 < self.significance < 1:
            raise ConfigError(f"--significance {self.significance:g}: must be a number between 0 and 1, such as 0.05")


def check_minimum(scored: ScoredPass, gate: Minimum) -> GateResult:
    """Compares a score with the least that passes."""
    measured = scored.scores.by_name()[gate.score]
    interval = scored.intervals.to_dict()[gate.score]
    passed = measured >= gate.value
    relation = "reaches" if passed else "is below"
    within = "" if interval is None else f" (95 % interval {interval[0]:.4f} to {interval[1]:.4f})"
    return GateResult(
        gate=f"min {gate.score}={gate.value!r}",
        passed=passed,
        message=f"{gate.score} {_exactly(measured, gate.value)} {relation} the required {gate.value!r}{within}",
        figures={"measured": measured, "required": gate.value, "interval": interval},
    )


def check_not_worse(
    scored: ScoredPass, gate: NotWorseThan, overrides: OverrideLike = (), *, scoring: Progress | None = None
) -> GateResult:
    """Compares with another model on the same photos, by McNemar's exact test.

    Args:
        scored: The pass of the model that must not be worse.
        gate: The other model.
        overrides: Settings with which that is scored where its predictions of these photos are not there.
        scoring: Told how many images have been scored with it.

    Raises:
        UserError: The other model cannot be scored on these photos, or its predictions are of others.
    """
    from classifier_training.evaluation.baseline import baseline_is_correct, check_baseline
    from classifier_training.metrics.paired import compare_paired

    check_baseline(gate.other)
    other = baseline_is_correct(gate.other, scored.images, overrides, scoring)
    found = compare_paired(scored.predictions.is_correct, other.is_correct)
    passed = not (found.num_only_second > found.num_only_first and found.p_value < gate.significance)
    relation = "is not proven better" if passed else "is better"
    return GateResult(
        gate=f"not worse than {gate.other}",
        passed=passed,
        message=f"{gate.other} {relation}: of {found.num_images} photos, {other.how}, it alone is right on"
        f" {found.num_only_second} and this model alone on {found.num_only_first}; p = {found.p_value:.3g},"
        f" significance {gate.significance:g}",
        figures={
            "num_images": found.num_images,
            "paired": other.how,
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
    """What comes of each gate, in order; arguments and errors as `check_not_worse`."""
    return [
        check_minimum(scored, gate)
        if isinstance(gate, Minimum)
        else check_not_worse(scored, gate, overrides, scoring=scoring)
        for gate in gates
    ]


def require_passed(results: Iterable[GateResult]) -> None:
    """Lets nothing pass that failed a gate.

    Raises:
        GateError: One line for each gate that was failed.

    Example:
        .. code-block:: python

            evaluation = evaluate("runs/shirts", output="evaluations/shirts")
            require_passed(check_gates(evaluation, [Minimum("top1", 0.9), NotWorseThan(Path("runs/last-week"))]))
    """
    failed = [f"gate failed: {result.message}" for result in results if not result.passed]
    if failed:
        raise GateError("\n".join(failed))


def parse_gates(
    minima: Sequence[str], other: str | os.PathLike[str] | None, significance: float
) -> list[Minimum | NotWorseThan]:
    """Gates as they are typed.

    Args:
        minima: Words such as ``top1=0.9``.
        other: The model that must not be better; None: any may be.
        significance: See `NotWorseThan`.

    Raises:
        UserError: One of them is not as it should be.
    """
    gates: list[Minimum | NotWorseThan] = [Minimum.parse(word) for word in minima]
    if other is None:
        return gates
    gates.append(NotWorseThan(Path(other), significance))
    from classifier_training.evaluation.baseline import check_baseline  # now: scoring a model may take an hour

    check_baseline(Path(other))
    return gates


def _exactly(measured: float, required: float) -> str:
    """Four digits, or as many as tell a score from the one that is required."""
    short = f"{measured:.4f}"
    return short if (float(short) >= required) == (measured >= required) else repr(measured)
