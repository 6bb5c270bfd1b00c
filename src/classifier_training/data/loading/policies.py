"""RandAugment and TrivialAugment, with torchvision's operations, strengths and probabilities.

Rotations, shears and translations of an image become one affine map, which `resampling.sample_affine` applies together
with the random crop and the flips, so an image is resampled once. Operations on colours follow, in their order
(`colour_operations`).

RandAugment: Cubuk et al., https://arxiv.org/abs/1909.13719. TrivialAugment: Müller and Hutter,
https://arxiv.org/abs/2103.10158.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

AUGMENTATION: Final = 2
"""Version of the augmentation, which a checkpoint records: raised when images get other colours or turns."""
_NUM_LEVELS: Final = 31
_RAND_LEVEL: Final = 9
_NUM_RAND_OPERATIONS: Final = 2


class AffineMap(NamedTuple):
    """Where a pixel of the output comes from: x' = a x + b y + c, y' = d x + e y + f, from -1 to 1 over the image."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0
    e: float = 1.0
    f: float = 0.0

    @property
    def is_translation(self) -> bool:
        """Whether the image is neither turned nor sheared."""
        return (self.a, self.b, self.d, self.e) == (1, 0, 0, 1)

    def after(self, first: AffineMap) -> AffineMap:
        """The map of an image to which ``first`` was applied, and then this one."""
        return AffineMap(
            first.a * self.a + first.b * self.d,
            first.a * self.b + first.b * self.e,
            first.a * self.c + first.b * self.f + first.c,
            first.d * self.a + first.e * self.d,
            first.d * self.b + first.e * self.e,
            first.d * self.c + first.e * self.f + first.f,
        )

    def flipped(self, horizontally: bool, vertically: bool) -> AffineMap:
        """The map of an image that was flipped before."""
        x, y = 1 - 2 * horizontally, 1 - 2 * vertically
        return AffineMap(x * self.a, x * self.b, x * self.c, y * self.d, y * self.e, y * self.f)


class Operation(NamedTuple):
    """One step of a policy.

    Attributes:
        name: As torchvision calls it.
        strength: Radians of a rotation, share of the side of a translation, else as torchvision's magnitude.
    """

    name: str
    strength: float


_TURNS: Final[dict[str, Callable[[float], AffineMap]]] = {
    "ShearX": lambda strength: AffineMap(b=strength, c=strength),
    "ShearY": lambda strength: AffineMap(d=strength, f=strength),
    "TranslateX": lambda strength: AffineMap(c=-2 * strength),
    "TranslateY": lambda strength: AffineMap(f=-2 * strength),
    "Rotate": lambda strength: AffineMap(
        math.cos(strength), -math.sin(strength), 0.0, math.sin(strength), math.cos(strength), 0.0
    ),
}


class Policy:
    """Samples the operations of an image.

    Args:
        name: The policy.
        image_size: Side S of the images.
    """

    def __init__(self, name: Literal["randaugment", "trivialaugment"], image_size: int) -> None:
        self.num_operations, levels = (
            (_NUM_RAND_OPERATIONS, [_RAND_LEVEL]) if name == "randaugment" else (1, list(range(_NUM_LEVELS)))
        )
        space = _rand_space(image_size) if name == "randaugment" else _trivial_space(image_size)
        self.choices: list[list[Operation]] = []
        for operation, (strengths, is_signed) in space.items():
            values = [strengths[level] for level in levels]
            self.choices.append([Operation(operation, value) for value in values])
            if is_signed:
                self.choices[-1] += [Operation(operation, -value) for value in values]

    def sample(self, uniform: float) -> list[Operation]:
        """The operations that one random number in [0, 1) stands for."""
        operations = []
        for _ in range(self.num_operations):
            number, uniform = _digit(uniform, len(self.choices))
            strength, uniform = _digit(uniform, len(self.choices[number]))
            operations.append(self.choices[number][strength])
        return operations


def affine_map(operations: Sequence[Operation]) -> AffineMap:
    """What the operations that move pixels do together."""
    whole = AffineMap()
    for operation in operations:
        if operation.name in _TURNS:
            whole = _TURNS[operation.name](operation.strength).after(whole)
    return whole


def _digit(uniform: float, base: int) -> tuple[int, float]:
    """An integer in [0, ``base``), and what is left of a random number in [0, 1) as another one."""
    number = min(int(uniform * base), base - 1)
    return number, uniform * base - number


def _rand_space(image_size: int) -> dict[str, tuple[Sequence[float], bool]]:
    return _space(shear=0.3, pixels=150 / 331 * image_size, degrees=30, change=0.9, lost_bits=4, image_size=image_size)


def _trivial_space(image_size: int) -> dict[str, tuple[Sequence[float], bool]]:
    return _space(shear=0.99, pixels=32, degrees=135, change=0.99, lost_bits=6, image_size=image_size)


def _space(
    *, shear: float, pixels: float, degrees: float, change: float, lost_bits: int, image_size: int
) -> dict[str, tuple[Sequence[float], bool]]:
    """The strengths of each operation by level, and whether they come with both signs."""
    levels = np.linspace(0, 1, _NUM_LEVELS)
    none = np.zeros(_NUM_LEVELS)
    # by whole pixels, so that nothing is interpolated
    shares = np.trunc(pixels * levels) / image_size
    signed = {
        "ShearX": shear * levels,
        "ShearY": shear * levels,
        "TranslateX": shares,
        "TranslateY": shares,
        "Rotate": np.radians(degrees) * levels,
        **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), change * levels),
    }
    unsigned = {
        "Identity": none,
        "Posterize": np.rint(8 - lost_bits * levels),
        "Solarize": 255 * (1 - levels),
        "AutoContrast": none,
        "Equalize": none,
    }
    return {
        **{name: (strengths.tolist(), True) for name, strengths in signed.items()},
        **{name: (strengths.tolist(), False) for name, strengths in unsigned.items()},
    }
