from __future__ import annotations

import collections
import math

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from classifier_training.data.loading.augmix import AugMix, Mixture, mix
from classifier_training.data.loading.policies import Operation

UNIFORMS = np.random.default_rng(0).random(1000)


def test_a_mixture_is_of_the_papers_distributions() -> None:
    how = AugMix(224, 3.0, 3, None, 1.0)

    sampled = [how.sample(uniform) for uniform in UNIFORMS]

    assert sampled == [how.sample(uniform) for uniform in UNIFORMS]
    assert all(sum(one.weights) + one.rest == pytest.approx(1) for one in sampled)
    rests = np.array([one.rest for one in sampled])  # Beta(1, 1) is uniform
    assert (rests.mean(), rests.var()) == pytest.approx((1 / 2, 1 / 12), abs=0.03)
    shares = np.array([one.weights for one in sampled]) / (1 - rests)[:, None]
    np.testing.assert_allclose(shares.mean(axis=0), 1 / 3, atol=0.03)
    np.testing.assert_allclose(shares.var(axis=0), 1 / 18, atol=0.01)  # Dirichlet(1, 1, 1)
    depths = collections.Counter(len(chain) for one in sampled for chain in one.chains)
    assert depths.keys() == {1, 2, 3}
    assert all(abs(count / 1000 - 1) < 0.15 for count in depths.values())
    names = collections.Counter(operation.name for one in sampled for chain in one.chains for operation in chain)
    assert names.keys() == v2.AugMix._PARTIAL_AUGMENTATION_SPACE.keys()
    assert all(abs(9 * count / names.total() - 1) < 0.15 for count in names.values())


def test_strengths_are_those_of_the_paper() -> None:
    how = AugMix(90, 10.0, 4, 5, 0.5)
    sampled = [how.sample(uniform) for uniform in UNIFORMS[:300]]

    assert {(len(one.chains), *map(len, one.chains)) for one in sampled} == {(4, 5, 5, 5, 5)}
    found = collections.defaultdict(set)
    for one in sampled:
        for chain in one.chains:
            for operation in chain:
                found[operation.name].add(operation.strength)
    assert {round(math.degrees(angle), 6) for angle in found["Rotate"]} == set(range(-29, 30))
    assert found["Posterize"] == {1, 2, 3, 4}
    assert found["TranslateX"] == {pixels / 90 for pixels in range(-29, 30)}
    assert (min(found["ShearY"]), max(found["ShearY"])) == pytest.approx((-0.3, 0.3), abs=0.01)
    assert min(found["Solarize"]) < 5
    assert max(found["Solarize"]) <= 254
    weak = [AugMix(90, 1.0, 3, None, 1.0).sample(uniform) for uniform in UNIFORMS[:100]]
    shears = [abs(one.strength) for mixture in weak for chain in mixture.chains for one in chain if "Shear" in one.name]
    assert 0.003 <= min(shears) < max(shears) <= 0.03


def test_images_are_mixed_by_their_weights() -> None:
    output = torch.full((1, 3, 2, 2), 200, dtype=torch.uint8)
    values = {"Identity": 100, "Equalize": 0}

    def apply(operations: list[Operation], target: torch.Tensor) -> None:
        target.fill_(values[operations[0].name])

    mix(Mixture([[Operation("Identity", 0.0)], [Operation("Equalize", 0.0)]], [0.3, 0.3], 0.4), output, apply)

    assert set(output.flatten().tolist()) == {110}
