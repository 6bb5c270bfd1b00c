from __future__ import annotations

import math

import pytest

from classifier_training.pages.charts.axes import (
    Axis,
    axis_over,
    bottom_labels,
    epoch_axis,
    horizontal_grid,
    power_axis,
    share_axis,
    tick_room,
)


def test_the_ends_of_an_axis_lie_at_its_ends() -> None:
    axis = Axis(-1, 3, (), str)

    assert [axis.share(value) for value in (-1, 0, 3)] == [0, 0.25, 1]


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [((0.12, 0.87), 0.0, 1.0), ((3.0, 17.0), 0.0, 20.0), ((1e-5, 9e-5), 0.0, 1e-4), ((-0.4, 0.4), -0.4, 0.4)],
)
def test_an_axis_is_of_round_numbers_and_holds_all_values(values: tuple[float, ...], low: float, high: float) -> None:
    axis = axis_over(values, str)

    assert axis.low == pytest.approx(low)
    assert axis.high == pytest.approx(high)
    assert axis.ticks[0] == pytest.approx(low)
    assert axis.ticks[-1] == pytest.approx(high)
    steps = [second - first for first, second in zip(axis.ticks, axis.ticks[1:], strict=False)]
    assert steps == pytest.approx([steps[0]] * len(steps))


@pytest.mark.parametrize("values", [(), (None,), (math.nan, math.inf), (5.0,), (0.0, 0.0)])
def test_there_is_an_axis_for_any_values(values: tuple[float | None, ...]) -> None:
    axis = axis_over(values, str)

    assert axis.low < axis.high
    assert axis.ticks


@pytest.mark.parametrize(
    ("powers", "ticks"),
    [
        ((-6.0, 0.0), (-6, -5, -4, -3, -2, -1, 0)),
        ((-3.0,), (-3, -2)),
        ((-2.5, -2.2), (-3, -2)),
        ((-14.0, 0.0), (-14, -12, -10, -8, -6, -4, -2, 0)),
    ],
)
def test_powers_of_ten_are_whole_and_hold_all_values(powers: tuple[float, ...], ticks: tuple[int, ...]) -> None:
    axis = power_axis(powers)

    assert axis.ticks == ticks
    assert axis.write(-3) == "0.001"
    assert all(0 <= axis.share(power) <= 1 for power in powers)


def test_given_ends_are_kept() -> None:
    axis = axis_over([1.0, 1.0], str, high=1.0)

    assert axis.high == 1.0
    assert axis.low < 1.0
    assert axis_over([3.0, 7.0], str, low=0.0).low == 0.0


def test_counts_have_whole_numbers_beside_them() -> None:
    assert axis_over([0, 1], str, low=0, whole=True).ticks == (0, 1)
    assert all(tick == int(tick) for tick in axis_over([0, 3], str, low=0, num_ticks=7, whole=True).ticks)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0.905, 0.99), ["90.0 %", "92.5 %", "95.0 %", "97.5 %", "100 %"]),
        ((0.61, 0.98), ["60 %", "70 %", "80 %", "90 %", "100 %"]),
        ((0.9991, 0.9999), ["99.900 %", "99.925 %", "99.950 %", "99.975 %", "100 %"]),
    ],
)
def test_shares_are_written_as_exactly_as_their_ticks_are(values: tuple[float, ...], ticks: list[str]) -> None:
    axis = share_axis(values, num_ticks=4, high=1.0)

    assert [axis.write(tick).replace("\N{NO-BREAK SPACE}", " ") for tick in axis.ticks] == ticks


def test_one_epoch_is_in_the_middle() -> None:
    axis = epoch_axis([1])

    assert axis.share(1) == 0.5
    assert axis.ticks == (1,)


@pytest.mark.parametrize("num_epochs", [2, 3, 7, 12, 90, 300, 1001])
def test_the_first_and_the_last_epoch_are_written(num_epochs: int) -> None:
    axis = epoch_axis(range(1, num_epochs + 1))

    assert (axis.ticks[0], axis.ticks[-1]) == (1, num_epochs)
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert len(axis.ticks) <= 10


def test_values_stand_where_they_belong() -> None:
    axis = Axis(0, 4, (1.0,), lambda value: f"{value:.0f} s")

    assert '<line x1="0" x2="100%" y1="75%" y2="75%" class="grid"></line>' in horizontal_grid(axis)
    assert ">1 s</text>" in horizontal_grid(axis)
    assert 'x="25%"' in bottom_labels(axis, "time")
    assert ">time</text>" in bottom_labels(axis, "time")


def test_long_values_get_more_room() -> None:
    assert tick_room(Axis(0, 1, (0.5,), lambda _: "12345")) == ""
    assert tick_room(Axis(0, 1, (0.5,), lambda _: "0.00025")) == "long-ticks"
