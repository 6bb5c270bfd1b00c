from __future__ import annotations

import math

import pytest

from classifier_training.metrics.forecast import COVERAGE, Curve, ForecastModel, forecast, stored_curves


def test_the_interval_holds_what_came_in_nine_of_ten_trainings_of_other_kinds() -> None:
    curves = stored_curves()
    held: list[float] = []
    late: list[float] = []
    from_probe: list[list[float]] = []
    for kind in sorted({curve.kind for curve in curves}):
        model = ForecastModel([curve for curve in curves if curve.kind != kind])
        for curve in (one for one in curves if one.kind == kind):
            num_epochs = len(curve.top1)
            first = 0 if curve.probe is not None else 1
            found = [model.forecast(curve.until(epoch)) for epoch in range(first, num_epochs)]
            held.append(sum(one.low <= curve.final + 1e-9 <= one.high + 2e-9 for one in found) / len(found))
            if curve.probe is not None:
                from_probe.append([abs(one.value - curve.final) for one in found])
            late += [abs(one.value - curve.final) for one in found[-(num_epochs // 4 or 1) :]]
    assert len(held) == len(curves) > 40
    assert sum(held) / len(held) >= COVERAGE
    assert sum(late) / len(late) < 0.04
    errors = [error for some in from_probe for error in some]
    assert sum(error <= 0.04 for error in errors) >= 0.8 * len(errors)
    assert sum(some[0] for some in from_probe) / len(from_probe) < 0.04  # before the first epoch


def test_without_a_probe_and_an_epoch_nothing_is_known() -> None:
    assert forecast(Curve((), 10, 100)) is None
    assert forecast(Curve((), 10, 100, probe=0.85)) is not None


def test_a_probe_that_is_always_right_is_expected_to_stay_so() -> None:
    found = forecast(Curve((), 10, 9, probe=1.0))
    assert found is not None
    assert (found.value, found.high) == (1, 1)
    assert found.low < 0.9  # by nine images nothing is certain


def test_a_forecast_is_never_below_what_is_reached_and_narrows_to_it() -> None:
    top1 = (0.7, 0.8, 0.83, 0.86, 0.85, 0.86, 0.87, 0.87)
    widths = []
    for epoch in range(1, 9):
        found = forecast(Curve(top1[:epoch], 8, 400, probe=0.82))
        assert found is not None
        assert max(top1[:epoch]) <= found.low <= found.value <= found.high <= 1
        widths.append(found.high - found.low)
    assert widths[-1] < 0.5 * widths[1] < 0.5 * widths[0] + 0.05


@pytest.mark.parametrize("top1", [(0.0,), (1.0,), (1.0, 0.0), (0.5, math.nextafter(1, 0))])
@pytest.mark.parametrize("num_images", [1, 10**7])
@pytest.mark.parametrize("epochs", [0.3, 1, 10**6])
def test_every_curve_has_a_forecast(top1: tuple[float, ...], num_images: int, epochs: float) -> None:
    found = forecast(Curve(top1, epochs, num_images))
    assert found is not None
    assert max(top1) <= found.value <= 1
    assert "%" in str(found)
