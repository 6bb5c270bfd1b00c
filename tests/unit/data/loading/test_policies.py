from __future__ import annotations

import collections
import math
from typing import Any, Literal

import numpy as np
import pytest
from torchvision.transforms import v2

from classifier_training.data.loading.policies import AffineMap, Operation, Policy, affine_map

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
