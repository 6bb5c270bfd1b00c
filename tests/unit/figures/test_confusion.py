from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from tests.unit.figures.nasty_names import NASTY_NAMES

from classifier_training.figures import confusion as module
from classifier_training.figures.confusion import confused_pairs, most_confused, plot_confusion


def make_confusion(num_classes: int, seed: int = 0) -> NDArray[np.int64]:
    """Mostly right, with a few errors in every row."""
    generator = np.random.default_rng(seed)
    confusion = generator.integers(0, 3, (num_classes, num_classes))
    confusion *= generator.random((num_classes, num_classes)) < 3 / num_classes
    np.fill_diagonal(confusion, generator.integers(10, 60, num_classes))
    return confusion.astype(np.int64)


def draw(monkeypatch: pytest.MonkeyPatch, confusion: NDArray[np.int64], *, normalized: bool = False) -> Figure:
    """The figure, instead of its file."""
    figures: list[Figure] = []
    monkeypatch.setattr(module, "save_figure", lambda figure, path: figures.append(figure))
    names = [f"class {number}" for number in range(len(confusion))]
    plot_confusion(Path("unused.png"), confusion, names, normalized=normalized, title="val")
    return figures[0]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("num_classes", [2, 12, 61, 1000])
def test_it_is_written_for_any_number_of_classes_and_any_names(
    num_classes: int, normalized: bool, tmp_path: Path
) -> None:
    path = tmp_path / "matrix.png"
    names = [*NASTY_NAMES, *map(str, range(num_classes))][:num_classes]
    plot_confusion(path, make_confusion(num_classes), names, normalized=normalized, title="$val$\n" + "x" * 300)
    with Image.open(path) as image:
        width, height = image.size
    assert 300 <= width <= 1900
    assert 300 <= height <= 1800


def test_cells_hold_counts_or_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    confusion = np.array([[199, 1, 0], [3, 1, 0], [0, 0, 12_345]])
    assert texts(draw(monkeypatch, confusion)) == ["199", "1", "3", "1", "12k"]
    assert texts(draw(monkeypatch, confusion, normalized=True)) == ["100", "<1", "75", "25", "100"]


def test_a_class_without_images_is_no_row_of_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    confusion = np.array([[5, 1, 0], [0, 0, 0], [0, 0, 3]])
    for normalized in (False, True):
        axes = draw(monkeypatch, confusion, normalized=normalized).axes[0]
        values = axes.images[0].get_array()
        assert values is not None
        assert np.ma.getmaskarray(np.ma.masked_invalid(values))[1].all()
        assert not np.ma.getmaskarray(np.ma.masked_invalid(values))[[0, 2]].any()
        hatched: list[Any] = [patch for patch in axes.patches if patch.get_hatch()]
        assert [patch.get_y() for patch in hatched] == [0.5]
        assert "no images" in [text.get_text() for text in axes.texts]


def test_a_model_without_correct_predictions_and_one_image_can_be_plotted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert texts(draw(monkeypatch, np.array([[0, 1], [0, 0]]))) == ["1", "no images"]


@pytest.mark.parametrize(("num_classes", "num_names"), [(30, 30), (31, 31), (60, 60), (61, 40), (500, 40)])
def test_classes_are_named_on_the_axes_while_they_are_readable(
    num_classes: int, num_names: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = draw(monkeypatch, make_confusion(num_classes))
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        assert len([label for label in axis.get_ticklabels() if label.get_text().startswith("class")]) == num_names
    assert bool(figure.axes[0].texts) == (num_classes <= 30), "numbers where they do not fit, or none where they do"


def test_of_many_classes_the_pairs_that_are_confused_most_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    confusion = np.diag(np.full(100, 50))
    confusion[7, 93], confusion[93, 7], confusion[20, 21] = 9, 4, 6
    figure = draw(monkeypatch, confusion)
    names = [label.get_text() for label in figure.axes[0].yaxis.get_ticklabels()]
    assert {"class 7", "class 20", "class 21", "class 93"} <= set(names)
    listed = texts(figure)
    assert listed[:8] == ["9", "of 59", "class 7", "→ class 93", "6", "of 56", "class 20", "→ class 21"]
    assert len(listed) == 12


def test_shares_of_the_block_are_of_all_images_of_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    confusion = make_confusion(100)
    block = most_confused(confusion)
    figure = draw(monkeypatch, confusion, normalized=True)
    values = figure.axes[0].images[0].get_array()
    assert values is not None
    expected = 100 * confusion[np.ix_(block, block)] / confusion[block].sum(axis=1)[:, None]
    np.testing.assert_allclose(values, expected)


def test_confused_pairs_come_most_frequent_first_and_right_answers_are_none() -> None:
    assert confused_pairs(np.array([[9, 2, 0], [5, 9, 1], [0, 0, 9]])) == [(1, 0, 5), (0, 1, 2), (1, 2, 1)]
    assert confused_pairs(np.array([[9, 2, 0], [5, 9, 1], [0, 0, 9]]), 1) == [(1, 0, 5)]
    assert confused_pairs(np.diag([3, 4])) == []


def test_the_block_is_in_class_order_and_filled_up_with_large_classes() -> None:
    confusion = np.diag([1, 9, 1, 8, 1, 1])
    confusion[4, 2] = 3
    assert most_confused(confusion, 4) == [1, 2, 3, 4]


def test_no_error_is_lost_where_there_are_more_cells_than_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    confusion = np.diag(np.full(1001, 50))
    confusion[903, 17] = 49
    confusion[3] = 0
    axes = draw(monkeypatch, confusion).axes
    image = next(one for one in axes if one.get_title().startswith("all 1001")).images[0]
    values = image.get_array()
    assert values is not None
    assert values.shape == (334, 334)
    assert values[301, 5] == 49
    assert values[0, 1] == 0
    assert tuple(image.get_extent()) == (-0.5, 1000.5, 1000.5, -0.5)
