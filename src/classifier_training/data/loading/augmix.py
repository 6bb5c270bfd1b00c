"""AugMix: an image, mixed with what several short chains of operations make of it.

Hendrycks et al., https://arxiv.org/abs/1912.02781, with the operations, strengths and distributions of the paper. Its
operations are not those on brightness, contrast, saturation and sharpness, which its test of robustness uses. The loss
on three views of an image, which the paper adds, is not part of this.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from classifier_training.data.loading.policies import Operation

MAX_SEVERITY: Final = 10
"""The strongest severity."""
_WEAKEST: Final = 0.1
_LONGEST: Final = 3
_OPERATIONS: Final = (
    "AutoContrast",
    "Equalize",
    "Posterize",
    "Rotate",
    "Solarize",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
)
_SIGNED: Final = frozenset({"Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"})


class Mixture(NamedTuple):
    """What is mixed.

    Attributes:
        chains: The operations of each chain, in their order.
        weights: What each chain contributes; they add up to 1 - ``rest``.
        rest: What the image itself contributes.
    """

    chains: list[list[Operation]]
    weights: list[float]
    rest: float


class AugMix:
    """Samples the mixture of an image.

    Args:
        image_size: Side S of the images.
        severity: Operations have strengths up to this, in [1, `MAX_SEVERITY`].
        width: Number of chains.
        depth: Operations of a chain; None: 1 to 3 of them.
        alpha: Of the Dirichlet distribution of the chains' weights and of the Beta distribution of the image's own.
    """

    def __init__(self, image_size: int, severity: float, width: int, depth: int | None, alpha: float) -> None:
        self.image_size = image_size
        self.severity = severity
        self.width = width
        self.depth = depth
        self.alpha = alpha

    def sample(self, uniform: float) -> Mixture:
        """The mixture that one random number in [0, 1) stands for."""
        random = np.random.default_rng(int(uniform * 2**53))
        weights, share = random.dirichlet([self.alpha] * self.width), random.beta(self.alpha, self.alpha)
        chains = []
        for _ in range(self.width):
            length = int(random.integers(1, _LONGEST, endpoint=True)) if self.depth is None else self.depth
            names = random.integers(len(_OPERATIONS), size=length).tolist()
            levels = random.uniform(_WEAKEST, self.severity, length) / MAX_SEVERITY
            signs = random.random(length)
            chains.append(
                [
                    self._operation(_OPERATIONS[number], float(level), -1 if sign < 0.5 else 1)
                    for number, level, sign in zip(names, levels, signs, strict=True)
                ]
            )
        return Mixture(chains, (share * weights).tolist(), 1 - share)

    def _operation(self, name: str, level: float, sign: int) -> Operation:
        """An operation at a level in (0, 1]; whole numbers of pixels, degrees, bits and levels, as the paper has it."""
        strength = {
            "AutoContrast": 0.0,
            "Equalize": 0.0,
            "Posterize": float(4 - int(4 * level)),
            "Rotate": math.radians(int(30 * level)),
            "Solarize": float(256 - int(256 * level)),
            "ShearX": 0.3 * level,
            "ShearY": 0.3 * level,
            "TranslateX": int(self.image_size / 3 * level) / self.image_size,
            "TranslateY": int(self.image_size / 3 * level) / self.image_size,
        }[name]
        return Operation(name, sign * strength if name in _SIGNED else strength)


def mix(mixture: Mixture, output: Tensor, apply: Callable[[list[Operation], Tensor], None]) -> None:
    """Mixes an image with its chains.

    Args:
        mixture: What is mixed.
        output: uint8 (1, 3, S, S), channels last: the image, changed.
        apply: Writes what operations make of the image into another tensor of that kind.
    """
    total = mixture.rest * output.float()
    changed = torch.empty_like(output)
    for chain, weight in zip(mixture.chains, mixture.weights, strict=True):
        apply(chain, changed)
        total.add_(changed, alpha=weight)
    output.copy_(total.add_(0.5).clamp_(0, 255))
