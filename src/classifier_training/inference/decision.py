"""What a deployed model decides from its probabilities: whether it answers, and which classes may be meant."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

DECISION: Final = "decision"
"""Key of a checkpoint, and of the metadata of an exported file, that has one."""


class Decided(NamedTuple):
    """What was decided for N images.

    Attributes:
        abstain: bool (N,): the most probable class is not probable enough for an answer.
        sets: bool (N, K): the classes that the true one is among, as often as was stated; None: there are no sets.
    """

    abstain: NDArray[np.bool_]
    sets: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Thresholds on the probabilities of a model, with its temperature, fitted on the validation images of its run.

    Attributes:
        num_images: Number of validation images.
        abstain_threshold: The model abstains where the probability of its most probable class is below; None: never.
        target_precision: What was asked for, which share of the answers is to be correct; None: nothing.
        target_coverage: What was asked for, which share of the images is to be answered; None: nothing.
        set_threshold: A class belongs to the prediction set if its probability is at least this; None: no sets.
        set_coverage: How often the true class is to be in the set; None: there are no sets.
        set_interval: Between which shares so many validation images leave that, with 95 % probability.
        measured: What the thresholds hold on the split of ``split``, as ``results.json`` has it; None: not measured.
    """

    num_images: int
    abstain_threshold: float | None = None
    target_precision: float | None = None
    target_coverage: float | None = None
    set_threshold: float | None = None
    set_coverage: float | None = None
    set_interval: tuple[float, float] | None = None
    measured: Mapping[str, Any] | None = None

    def decide(self, probabilities: ArrayLike) -> Decided:
        """Decides for N images.

        Probabilities are compared as float32, in which the thresholds are exact, so that every form of the model
        decides alike.

        Args:
            probabilities: Float (N, K), of all classes.
        """
        values = np.asarray(probabilities, np.float32)
        top = values.max(axis=1, initial=0.0)
        abstain = top < np.float32(-1.0 if self.abstain_threshold is None else self.abstain_threshold)
        return Decided(abstain, None if self.set_threshold is None else values >= np.float32(self.set_threshold))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and for a checkpoint, without those that are None."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["set_interval"] = None if self.set_interval is None else list(self.set_interval)
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: object) -> Decision:
        """Reads what `to_dict` wrote; what a later version may have added is ignored.

        Raises:
            ValueError: A value is missing or impossible; the message names it.
        """
        if not isinstance(values, Mapping):
            raise ValueError("it is not an object")  # noqa: TRY004 - a value of a file, as of the docstring
        known: dict[str, Any] = {one.name: values.get(one.name) for one in fields(cls)}
        for name, value in known.items():
            if not (_IS_VALID[name](value) if value is not None else name != "num_images"):
                raise ValueError(f"its {name} is {value!r:.80}")
        if known["set_interval"] is not None:
            known["set_interval"] = tuple(known["set_interval"])
        return cls(**known)


def _is_share(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value <= 1


def _is_interval(value: Any) -> bool:
    is_pair = isinstance(value, list | tuple) and len(value) == 2
    return is_pair and all(map(_is_share, value)) and value[0] <= value[1]


_IS_VALID: Final[Mapping[str, Callable[[Any], bool]]] = {
    "num_images": lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
    "abstain_threshold": _is_share,
    "target_precision": _is_share,
    "target_coverage": _is_share,
    "set_threshold": _is_share,
    "set_coverage": _is_share,
    "set_interval": _is_interval,
    "measured": lambda value: isinstance(value, Mapping),
}
