from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tests.helpers.cli import TINY
from tests.helpers.photos import make_split_photos
from tests.helpers.training import LIGHTNING_NOTICES

from classifier_training.config.arguments import read_overrides
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.sharpness import SharpnessAware
from classifier_training.run.time_budget import TimeBudget
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.batch_costs import BatchCosts, _is_enough, _usual, measure_batches
from classifier_training.training.costs import add_up, measure_costs
from classifier_training.training.model import build_model
from classifier_training.training.plan import Plan, make_plan
from classifier_training.training.start import New, find_start

pytestmark = LIGHTNING_NOTICES


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_split_photos(tmp_path_factory.mktemp("photos"), train=8, val=4, test=2)


def plan_of(photos: Path, *overrides: str) -> Plan:
    start = find_start(False, read_overrides([*TINY, *overrides], photos=photos), None)
    assert isinstance(start, New)
    return make_plan(start.config, Terminal(quiet=True), complete=start.complete)


def test_measured_are_real_steps_and_nothing_is_left_of_them(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("recipe=scratch_long", "optimizer.sam_rho=0.05", "trainer.accumulate_grad_batches=2", "ema.decay=0.9")
    plan = plan_of(photos, *words, "trainer.time_limit=60", "trainer.gradient_clip_algorithm=agc", "data.batch_size=4",
                   "trainer.gradient_clip_val=0.1")  # fmt: skip
    model = build_model(plan, Terminal(quiet=True))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random, modes = torch.random.get_rng_state(), [module.training for module in model.modules()]
    steps: list[tuple[bool, ...]] = []
    second_pass = SharpnessAware.uphill_loss

    def noted(self: SharpnessAware, backbone: torch.nn.Module, *rest: object) -> torch.Tensor:
        steps.append((backbone is model.backbone, backbone.training))
        return second_pass(self, backbone, *rest)  # type: ignore[arg-type]  # what it got

    monkeypatch.setattr(SharpnessAware, "uphill_loss", noted)
    found = measure_batches(plan, model, 4)

    assert min(found.decoding, found.loading, found.training, found.scoring) > 0
    assert found.decoding >= found.loading
    assert len(steps) >= 4, "a step that is not measured, and at least another, of two batches each"
    assert set(steps) == {(False, True)}
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())
    assert [module.training for module in model.modules()] == modes
    assert model._trainer is None


@pytest.mark.parametrize(
    ("ends", "is_enough", "usual"),
    [
        ([0, 2, 3], False, 1),
        ([0, 2, 3, 5.5], True, 1.75),  # more than three seconds
        ([0, 5, 9], True, 4),
        ([0, 7], True, 7),  # the first alone is too slow for another one
        ([0, 0.2, 0.3, 0.4, 0.5, 0.6], True, 0.1),
    ],
)
def test_slow_steps_are_measured_less_often(ends: list[float], is_enough: bool, usual: float) -> None:
    assert _is_enough(ends) is is_enough
    assert _usual([later - earlier for earlier, later in pairwise(ends)]) == pytest.approx(usual)


COSTS = BatchCosts(decoding=3.0, loading=1.0, training=4.0, scoring=1.0)


def test_first_epochs_have_costs_of_their_own(photos: Path) -> None:
    plan = plan_of(
        photos, "data.batch_size=4", "data.image_size=64", "data.progressive_size=0.5", "trainer.time_limit=1h"
    )
    costs = add_up(plan, COSTS, 4, 4, slowness=1.0, num_weights=0)
    assert costs.step == 5
    assert costs.num_batches == 4
    sizes = (32, 44, 52)  # of the first three epochs of four; the first one decodes its images
    expected = [(load + 4 * (size / 64) ** 2) / 5 for load, size in zip((3, 1, 1), sizes, strict=True)]
    assert costs.shares == pytest.approx(expected)
    usual = plan_of(photos, "data.batch_size=4", "trainer.time_limit=1h", "data.cache=none")
    alike = BatchCosts(decoding=1.0, loading=1.0, training=4.0, scoring=1.0)
    assert add_up(usual, alike, 4, 4, slowness=1.0, num_weights=0).shares == ()


def test_smaller_batches_than_those_of_the_training_tell_as_much(photos: Path) -> None:
    plan = plan_of(photos, "data.batch_size=8", "trainer.time_limit=1h")
    whole = add_up(plan, COSTS, 8, 2, slowness=1.0, num_weights=0)
    halves = BatchCosts(*(0.5 * value for value in (COSTS.decoding, COSTS.loading, COSTS.training, COSTS.scoring)))
    assert add_up(plan, halves, 4, 2, slowness=1.0, num_weights=0) == whole


def test_a_range_test_of_the_learning_rate_has_its_share(photos: Path) -> None:
    given, found = (plan_of(photos, f"optimizer.lr={lr}", "data.batch_size=8") for lr in ("0.1", "find"))
    assert measure_batches(found, build_model(found, Terminal(quiet=True)), 8).training > 0
    starts = [add_up(plan, COSTS, 8, 2, slowness=1.0, num_weights=0).start for plan in (given, found)]
    assert starts[1] - starts[0] == 100 * (COSTS.loading + COSTS.training)


def test_what_is_chosen_from_at_the_end_depends_on_the_epochs(photos: Path) -> None:
    plan = plan_of(photos, "checkpoint.choose_final=true", "data.batch_size=8")
    one, three, nine = (add_up(plan, COSTS, 8, number, slowness=1.0, num_weights=0).reserve for number in (1, 3, 9))
    assert three - one == pytest.approx(2 * 2)  # two passes more for each epoch, over eight images
    assert nine - three == pytest.approx(2 * 2)  # of which five are kept at the most


def test_a_batch_that_is_too_large_is_measured_by_halves(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def measure(plan: Plan, model: BaseClassificationModel, batch_size: int) -> BatchCosts:
        tried.append(batch_size)
        if batch_size > 2:
            raise MemoryError
        return COSTS

    monkeypatch.setattr("classifier_training.training.costs.measure_batches", measure)
    plan = plan_of(photos, "data.batch_size=8", "trainer.time_limit=1h")
    model = build_model(plan, Terminal(quiet=True))
    assert measure_costs(plan, model, TimeBudget(3600.0, 0.0, lambda: 0.0)).step == 4 * 5
    assert tried == [8, 4, 2]
