from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from classifier_training.models.average_weights import greedy_soup, have_equal_statistics, interpolate, mean_of

STEP = torch.tensor(3)


def state(value: float) -> dict[str, Tensor]:
    return {"weight": torch.full((2,), value), "step": STEP}


def test_an_interpolation_lies_between_its_ends() -> None:
    first, second = state(1.0), state(3.0)
    for share, expected in ((0.0, 1.0), (0.25, 1.5), (1.0, 3.0)):
        found = interpolate(first, second, share)
        assert found["weight"].tolist() == [expected] * 2
        assert found["step"] is STEP
    assert first["weight"].tolist() == [1.0, 1.0], "the ends are left as they are"


def test_a_mean_of_many_is_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(100, generator=generator) for _ in range(7)]
    found = mean_of([{"weight": weight} for weight in weights])["weight"]
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.stack(weights).double().mean(dim=0).float())
    assert torch.equal(mean_of([{"weight": weights[0]}])["weight"], weights[0])


@pytest.mark.parametrize(("changed", "equal"), [("weight", True), ("running_mean", False), ("running_var", False)])
def test_statistics_are_compared_and_weights_and_counters_are_not(changed: str, equal: bool) -> None:
    module = nn.BatchNorm2d(2)
    first = {name: value.clone() for name, value in module.state_dict().items()}
    second = {name: value.clone() for name, value in first.items()}
    second[changed] += 1
    second["num_batches_tracked"] += 1
    buffers = [name for name, _ in module.named_buffers()]
    assert have_equal_statistics([first, first], buffers)
    assert have_equal_statistics([first, second], buffers) is equal


def test_a_soup_takes_what_lowers_the_loss_and_nothing_else() -> None:
    """The best value is 2.5; alone, the third is nearest; with the first the mean is right, with the others worse."""
    values = [3.0, 9.0, 2.0, -4.0]

    def loss(weights: float) -> float:
        return abs(weights - 2.5)

    soup = greedy_soup([state(value) for value in values], [loss(v) + 1e-3 * v for v in values],
                       lambda mean: loss(float(mean["weight"][0])))  # fmt: skip
    assert set(soup.members) == {0, 2}
    assert soup.loss == pytest.approx(0.0)


def test_a_soup_of_equal_states_is_the_first() -> None:
    soup = greedy_soup([state(1.0), state(1.0)], [0.5, 0.5], lambda mean: 0.5)
    assert (soup.members, soup.loss) == ((0,), 0.5)
