"""Drawing within a training: cheap, and never the end of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from PIL import Image

from classifier_training.figures.rendering import PlottingBudget, new_figure, save_figure
from classifier_training.warn import warn_instead_of_raise


class Clock:
    """A clock that stands still until it is advanced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_drawing_takes_no_more_than_its_share_of_the_time(clock: Clock) -> None:
    budget = PlottingBudget(share=0.1)
    assert budget.is_open
    with budget.spending():
        clock.now += 2
    assert not budget.is_open  # 2 of 2 seconds
    clock.now += 17
    assert not budget.is_open  # 2 of 19
    clock.now += 1
    assert budget.is_open  # 2 of 20
    assert budget.spent == 2


def test_time_is_counted_also_when_drawing_fails(clock: Clock) -> None:
    budget = PlottingBudget(share=0.5)

    def draw() -> None:
        with budget.spending():
            clock.now += 3
            raise ValueError("no ink")

    with pytest.raises(ValueError, match="no ink"):
        draw()
    assert budget.spent == 3


def test_a_failure_is_one_line() -> None:
    with pytest.warns(UserWarning, match="could not be made") as caught, warn_instead_of_raise("the figure"):
        raise ValueError("no\n  ink")
    assert [str(one.message) for one in caught] == ["the figure could not be made, the rest continues: no ink"]


def test_an_interrupt_is_no_failure() -> None:
    with pytest.raises(KeyboardInterrupt), warn_instead_of_raise("the figure"):
        raise KeyboardInterrupt


def test_letters_that_no_font_has_are_plotted_without_a_warning(tmp_path: Path) -> None:
    figure = new_figure(2, 1)
    figure.text(0.1, 0.5, "\N{FIRE} \N{CJK UNIFIED IDEOGRAPH-732B}")
    save_figure(figure, tmp_path / "deep" / "one.png")
    with Image.open(tmp_path / "deep" / "one.png") as image:
        assert image.size == (200, 100)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["one.png"]


def test_all_that_draw_have_their_turn() -> None:
    budget = PlottingBudget(share=1e9)
    _ = budget.is_open
    drawn: list[str] = []
    for epoch in range(3):
        for name in ("matrix", "pictures", "curves"):
            if budget.wait(name) and not (epoch == 0 and drawn):  # in the first epoch there is time for one alone
                budget.note_plotted(name)
                drawn.append(name)
    assert drawn == ["matrix", "pictures", "curves", "matrix", "pictures", "curves"]
