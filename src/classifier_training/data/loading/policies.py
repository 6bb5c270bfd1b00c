"""RandAugment, TrivialAugment and 3-Augment, with torchvision's operations, strengths and probabilities.

Rotations, shears and translations of an image become one affine map, which `resampling.sample_affine` applies together
with the random crop and the flips, so an image is resampled once. Operations on colours follow, in their order
(`colour_operations`).

RandAugment: Cubuk et al., https://arxiv.org/abs/1909.13719. TrivialAugment: Müller and Hutter,
https://arxiv.org/abs/2103.10158. 3-Augment: Touvron et al., https://arxiv.org/abs/2204.07118. AugMix has a file of its
own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

AUGMENTATION: Final = 3
"""Version of the augmentation, which a checkpoint records: 2 jitters colours and turns images in another way than 1
does, 3 erases other parts."""
MAX_MAGNITUDE: Final = 30
"""The strongest magnitude of RandAugment."""
_LEVELS: Final = np.linspace(0, 1, MAX_MAGNITUDE + 1)
_STEPS_A_MAGNITUDE: Final = 100  # of magnitudes that are sampled
_SOLARIZE_LEVEL: Final = 128.0

_Space = dict[str, tuple[list[float], bool]]


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
        magnitude: Of RandAugment, in [0, `MAX_MAGNITUDE`].
        num_operations: Of RandAugment, for each image.
    """

    def __init__(
        self,
        name: Literal["randaugment", "trivialaugment"],
        image_size: int,
        magnitude: float = 9.0,
        num_operations: int = 2,
    ) -> None:
        self.num_operations = num_operations if name == "randaugment" else 1
        space = (
            _rand_space(image_size, magnitude * _LEVELS[1:2]) if name == "randaugment" else _trivial_space(image_size)
        )
        self.choices: list[list[Operation]] = []
        for operation, (values, is_signed) in space.items():
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


class RandAugmentWithNoise:
    """RandAugment whose magnitude is another one for each operation, as timm's ``mstd``.

    Args:
        image_size: Side S of the images.
        magnitude: Mean of the normal distribution, in [0, `MAX_MAGNITUDE`], to which what is sampled is clipped.
        num_operations: For each image.
        deviation: Standard deviation, in magnitudes.
    """

    def __init__(self, image_size: int, magnitude: float, num_operations: int, deviation: float) -> None:
        self.magnitude = magnitude
        self.num_operations = num_operations
        self.deviation = deviation
        levels = np.linspace(0, 1, MAX_MAGNITUDE * _STEPS_A_MAGNITUDE + 1)
        self._space = list(_rand_space(image_size, levels).items())

    def sample(self, uniform: float) -> list[Operation]:
        """The operations that one random number in [0, 1) stands for."""
        random, count = np.random.default_rng(int(uniform * 2**53)), self.num_operations
        magnitudes = random.normal(self.magnitude, self.deviation, count).clip(0, MAX_MAGNITUDE)
        steps = np.rint(magnitudes * _STEPS_A_MAGNITUDE).astype(int).tolist()
        operations = []
        for number, step, sign in zip(
            random.integers(len(self._space), size=count), steps, random.random(count), strict=True
        ):
            name, (strengths, is_signed) = self._space[number]
            operations.append(Operation(name, -strengths[step] if is_signed and sign < 0.5 else strengths[step]))
        return operations


def three_augment(choice: float, sigma: float) -> Operation:
    """The operation of 3-Augment that a random number in [0, 1) stands for.

    Args:
        choice: The number: a third each for no colours, for inverted light ones, and for a blur.
        sigma: Strength of the blur.
    """
    operations = (Operation("Grayscale", 1.0), Operation("Solarize", _SOLARIZE_LEVEL), Operation("GaussianBlur", sigma))
    return operations[_digit(choice, len(operations))[0]]


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


def _rand_space(image_size: int, levels: NDArray[np.float64]) -> _Space:
    pixels = 150 / 331 * image_size
    return _space(levels, shear=0.3, pixels=pixels, degrees=30, change=0.9, lost_bits=4, image_size=image_size)


def _trivial_space(image_size: int) -> _Space:
    return _space(_LEVELS, shear=0.99, pixels=32, degrees=135, change=0.99, lost_bits=6, image_size=image_size)


def _space(
    levels: NDArray[np.float64],
    *,
    shear: float,
    pixels: float,
    degrees: float,
    change: float,
    lost_bits: int,
    image_size: int,
) -> _Space:
    """The strengths of each operation at levels in [0, 1], and whether they come with both signs."""
    none = np.zeros(len(levels))
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
