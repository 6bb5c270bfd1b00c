"""The unknown score of a finished model, as its checkpoint keeps it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classifier_training.inference.unknown import UnknownCard
from classifier_training.metrics.unknown import ARRAYS, KINDS, UnknownScore


@dataclass(frozen=True, slots=True, eq=False)
class UnknownDetector:
    """A score, and what is known of it.

    Attributes:
        score: Computes it.
        card: What travels in the metadata of a deployed file.
    """

    score: UnknownScore
    card: UnknownCard

    def to_values(self) -> dict[str, Any]:
        """Plain values and tensors for a checkpoint."""
        arrays = {name: torch.from_numpy(np.array(array)) for name, array in self.score.arrays.items()}
        return {**self.card.to_dict(), "neighbours": self.score.neighbours, "arrays": arrays}

    @classmethod
    def from_values(cls, values: object) -> UnknownDetector:
        """Reads what `to_values` wrote.

        Raises:
            ValueError: A value is missing or impossible.
        """
        card = UnknownCard.from_dict(values)
        assert isinstance(values, Mapping)  # noqa: S101 - or there would be no card
        arrays, neighbours = values.get("arrays"), values.get("neighbours")
        kind = next((one for one in KINDS if one == card.kind), None)
        if kind is None or not isinstance(arrays, Mapping) or not isinstance(neighbours, int):
            raise ValueError(f"its unknown score {card.kind!r:.80} is not one of {', '.join(KINDS)}, with its arrays")
        for name in ARRAYS[kind]:
            tensor = arrays.get(name)
            if not isinstance(tensor, Tensor) or tensor.dtype != torch.float32 or not bool(tensor.isfinite().all()):
                raise ValueError(f"the array {name} of its unknown score is not float32, or not finite")
        return cls(UnknownScore(kind, neighbours, {name: arrays[name].numpy() for name in arrays}), card)


@contextlib.contextmanager
def head_inputs(classifier: nn.Module | None) -> Iterator[list[NDArray[np.float32]]]:
    """Collects what a linear layer gets meanwhile, float32 (B, D) of each batch; nothing where it is None."""
    found: list[NDArray[np.float32]] = []
    if classifier is None:
        yield found
        return
    handle = classifier.register_forward_hook(
        lambda _module, inputs, _output: found.append(inputs[0].detach().float().cpu().numpy())
    )
    try:
        yield found
    finally:
        handle.remove()
