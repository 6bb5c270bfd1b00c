from __future__ import annotations

from classifier_training.figures.axes import SPLIT_COLOURS, plain_axes
from classifier_training.figures.rendering import new_figure
from classifier_training.types import SPLITS


def test_every_split_has_a_colour_of_its_own() -> None:
    assert set(SPLIT_COLOURS) == set(SPLITS)
    assert len(set(SPLIT_COLOURS.values())) == len(SPLITS)


def test_the_title_is_on_the_left_and_two_sides_have_no_frame() -> None:
    axes = new_figure(3, 2).subplots()

    plain_axes(axes, "what is drawn")

    assert axes.get_title(loc="left") == "what is drawn"
    assert [side for side, spine in axes.spines.items() if spine.get_visible()] == ["left", "bottom"]
