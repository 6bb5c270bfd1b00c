"""What a deployed file knows of its unknown score: which one it is, and from where on an image counts as unknown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

UNKNOWN: Final = "unknown"
"""Key of a checkpoint, and of the metadata of an exported file, that has an unknown score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownCard:
    """The unknown score of a model; the higher it is, the less an image is like those of the training.

    Attributes:
        kind: Which score, one of `metrics.unknown.KINDS`.
        threshold: An image counts as unknown where its score is above this.
        known_share: Share of the validation images that count as known.
        num_images: Number of the validation images that the threshold was fitted on.
        quantiles: Nine scores that part the validation images into tenths, to notice when later ones differ.
        auroc: How well the score told classes apart that it was fitted without, on average; None: that is not known.
    """

    kind: str
    threshold: float
    known_share: float
    num_images: int
    quantiles: tuple[float, ...] = ()
    auroc: float | None = None

    def is_unknown(self, scores: ArrayLike) -> NDArray[np.bool_]:
        """Which of N images are unknown, bool (N,), by their scores (N,), compared as float32, as in the graph."""
        return np.asarray(np.asarray(scores, np.float32) > np.float32(self.threshold))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and for a checkpoint, without those that are None."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: value for name, value in (values | {"quantiles": list(self.quantiles)}).items() if value is not None
        }

    @classmethod
    def from_dict(cls, values: object) -> UnknownCard:
        """Reads what `to_dict` wrote; what a later version may have added is ignored.

        Raises:
            ValueError: A value is missing or impossible; the message names it.
        """
        if not isinstance(values, Mapping):
            raise ValueError("it is not an object")  # noqa: TRY004 - a value of a file, as of the docstring
        known: dict[str, Any] = {one.name: values.get(one.name) for one in fields(cls)}
        for name, value in known.items():
            if not (_IS_VALID[name](value) if value is not None else name in {"quantiles", "auroc"}):
                raise ValueError(f"its {name} is {value!r:.80}")
        return cls(**(known | {"quantiles": tuple(known["quantiles"] or ())}))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


_IS_VALID: Final[Mapping[str, Callable[[Any], bool]]] = {
    "kind": lambda value: isinstance(value, str) and bool(value),
    "threshold": _is_number,
    "known_share": _is_share,
    "num_images": lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
    "quantiles": lambda value: (
        isinstance(value, list | tuple) and all(map(_is_number, value)) and list(value) == sorted(value)
    ),
    "auroc": _is_share,
}
