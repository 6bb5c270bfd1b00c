from __future__ import annotations

import collections
import math
from typing import Any, Literal

import numpy as np
import pytest
from torchvision.transforms import v2

from classifier_training.data.loading.policies import (
    AffineMap,
    Operation,
    Policy,
    RandAugmentWithNoise,
    affine_map,
    three_augment,
)

POLICIES: list[tuple[Literal["randaugment", "trivialaugment"], type[Any], list[int]]] = [
    ("randaugment", v2.RandAugment, [9]),
    ("trivialaugment", v2.TrivialAugmentWide, list(range(31))),
]


@pytest.mark.parametrize(("name", "policy", "levels"), POLICIES)
@pytest.mark.parametrize("size", [32, 224])
def test_the_strengths_are_torchvisions(name: Any, policy: type[Any], levels: list[int], size: int) -> None:
    choices = {operations[0].name: [one.strength for one in operations] for operations in Policy(name, size).choices}

    assert choices.keys() == policy._AUGMENTATION_SPACE.keys()
    for operation, (magnitudes, is_signed) in policy._AUGMENTATION_SPACE.items():
        values = magnitudes(31, size, size)
        expected = np.zeros(31) if values is None else values.numpy().astype(float)
        if operation.startswith("Translate"):
            expected = np.trunc(expected) / size
        expected = {"Rotate": np.radians(expected), "Solarize": 255 * expected}.get(operation, expected)[levels]
        expected = np.concatenate([expected, -expected]) if is_signed else expected
        # a magnitude next to a whole number of pixels may be rounded to either side of it
        tolerance = 1.01 / size if operation.startswith("Translate") else 1e-5
        np.testing.assert_allclose(choices[operation], expected, rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize("magnitude", [0, 1, 15, 29, 30])
def test_every_magnitude_of_randaugment_is_torchvisions(magnitude: int) -> None:
    choices = {one[0].name: [abs(one.strength) for one in one] for one in Policy("randaugment", 224, magnitude).choices}

    for operation, (magnitudes, is_signed) in v2.RandAugment._AUGMENTATION_SPACE.items():
        values = magnitudes(31, 224, 224)
        expected = 0.0 if values is None else float(values[magnitude])
        expected = math.trunc(expected) / 224 if operation.startswith("Translate") else expected
        expected = {"Rotate": math.radians(expected), "Solarize": 255 * expected}.get(operation, expected)
        assert choices[operation] == pytest.approx([expected] * (1 + is_signed), rel=1e-5, abs=1e-6)


def test_a_magnitude_between_two_is_between_their_strengths() -> None:
    (weaker, between, stronger) = (Policy("randaugment", 224, magnitude).choices for magnitude in (10, 10.4, 11))

    for low, middle, high in zip(weaker, between, stronger, strict=True):
        ends = sorted([low[0].strength, high[0].strength])
        assert ends[0] <= middle[0].strength <= ends[1]
    assert between[0][0].strength == pytest.approx(0.3 * 10.4 / 30)


def test_the_number_of_operations_of_randaugment() -> None:
    how = Policy("randaugment", 224, num_operations=10)

    sampled = [how.sample(uniform) for uniform in np.random.default_rng(0).random(3000)]

    assert {len(operations) for operations in sampled} == {10}
    for place in (0, 9):  # the last ones are as random as the first
        names = collections.Counter(operations[place].name for operations in sampled)
        assert len(names) == 14
        assert all(abs(number * 14 / 3000 - 1) < 0.3 for number in names.values())


def test_magnitudes_with_noise_are_normal_and_clipped() -> None:
    how = RandAugmentWithNoise(224, 9, 3, 2.0)
    uniforms = np.random.default_rng(0).random(2500)

    sampled = [how.sample(uniform) for uniform in uniforms]

    assert sampled == [how.sample(uniform) for uniform in uniforms]
    assert {len(operations) for operations in sampled} == {3}
    names = collections.Counter(one.name for operations in sampled for one in operations)
    assert len(names) == 14
    assert all(abs(number * 14 / 7500 - 1) < 0.2 for number in names.values())
    colours = np.array([one.strength for operations in sampled for one in operations if one.name == "Color"])
    magnitudes = np.abs(colours) / 0.9 * 30
    assert (magnitudes.mean(), magnitudes.std()) == pytest.approx((9, 2), abs=0.3)
    assert np.mean(colours < 0) == pytest.approx(0.5, abs=0.05)
    widest = RandAugmentWithNoise(224, 30, 1, 30.0)
    extreme = [one for uniform in uniforms[:1000] for one in widest.sample(uniform) if one.name == "Color"]
    assert {abs(one.strength) for one in extreme} >= {0.0, 0.9}
    assert max(abs(one.strength) for one in extreme) == 0.9


def test_3_augment_takes_one_of_three_operations() -> None:
    chosen = [three_augment(uniform, 1.5) for uniform in np.random.default_rng(0).random(3000)]

    assert set(chosen) == {Operation("Grayscale", 1.0), Operation("Solarize", 128.0), Operation("GaussianBlur", 1.5)}
    assert all(abs(number / 1000 - 1) < 0.1 for number in collections.Counter(chosen).values())


@pytest.mark.parametrize(("name", "policy", "levels"), POLICIES)
def test_all_operations_and_strengths_are_equally_likely(name: Any, policy: type[Any], levels: list[int]) -> None:
    how, count = Policy(name, 224), 30_000

    sampled = [how.sample(uniform) for uniform in np.random.default_rng(0).random(count)]

    assert {len(operations) for operations in sampled} == {how.num_operations}
    for place in range(how.num_operations):
        names = collections.Counter(operations[place].name for operations in sampled)
        assert len(names) == len(policy._AUGMENTATION_SPACE)
        assert all(abs(number * len(names) / count - 1) < 0.12 for number in names.values())
    shears = collections.Counter(one.strength for operations in sampled for one in operations if one.name == "ShearX")
    assert len(shears) == len({-strength for strength in shears}) >= len(levels)
    assert abs(sum(number for strength, number in shears.items() if strength > 0) / shears.total() - 0.5) < 0.05
    if how.num_operations == 2:  # one number decides about both, and they are independent
        pairs = collections.Counter(tuple(one.name for one in operations) for operations in sampled)
        assert len(pairs) == len(policy._AUGMENTATION_SPACE) ** 2


def test_the_ends_of_the_random_numbers() -> None:
    how = Policy("randaugment", 224)

    assert how.sample(0.0) == [how.choices[0][0]] * 2
    assert [one.name for one in how.sample(math.nextafter(1.0, 0.0))] == ["Equalize"] * 2


def position(affine: AffineMap, x: float, y: float) -> tuple[float, float]:
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def test_maps_follow_one_another() -> None:
    first, second = Operation("Rotate", 0.7), Operation("ShearX", 0.3)

    both = affine_map([first, Operation("Color", 0.5), second])

    expected = position(affine_map([first]), *position(affine_map([second]), 0.3, -0.2))
    assert position(both, 0.3, -0.2) == pytest.approx(expected)
    assert position(affine_map([first, Operation("Rotate", -0.7)]), 0.3, -0.2) == pytest.approx((0.3, -0.2))


def test_what_only_moves_an_image() -> None:
    moved = affine_map([Operation("TranslateX", 0.25), Operation("TranslateY", -0.5), Operation("Equalize", 0.0)])

    assert moved.is_translation
    assert position(moved, 0.0, 0.0) == (-0.5, 1.0)
    assert not affine_map([Operation("Rotate", 0.1)]).is_translation
    assert position(affine_map([Operation("Rotate", math.pi / 2)]).flipped(True, False), 1.0, 0.0) == pytest.approx(
        (0.0, 1.0)
    )
