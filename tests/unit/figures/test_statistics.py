from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers.page_data import make_statistics
from tests.unit.figures.nasty_names import NASTY_NAMES

from classifier_training.figures.rendering import save_figure
from classifier_training.figures.statistics import MAX_CLASSES_NAMED, plot_image_sizes, plot_images_per_class
from classifier_training.run.statistics import QUANTITIES, Histogram, Spread, Statistics


def counted(classes: Sequence[str], **counts: Sequence[int]) -> Statistics:
    return make_statistics(classes=tuple(classes), counts={split: tuple(values) for split, values in counts.items()})


def measured(edges: Sequence[float], counts: Sequence[int]) -> Statistics:
    spread = Spread(edges[0], edges[0], edges[-1])
    return make_statistics(
        width=spread,
        height=spread,
        aspect_ratio=spread,
        histograms=dict.fromkeys(QUANTITIES, Histogram(tuple(edges), tuple(counts))),
    )


def test_classes_are_sorted_by_training_images_with_a_bar_for_each_split() -> None:
    figure = plot_images_per_class(counted(["a", "b", "c"], train=[5, 9, 7], val=[1, 0, 2]))

    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["b", "c", "a"]
    train, val = axes.containers
    assert [[bar.get_width() for bar in bars] for bars in (train, val)] == [[9, 7, 5], [0, 2, 1]]
    assert axes.get_title(loc="left") == "images per class (train 21, val 3)"
    assert axes.get_xscale() == "linear"


@pytest.mark.parametrize("num_classes", [3, 100])
def test_very_unequal_classes_have_a_logarithmic_axis(num_classes: int) -> None:
    counts = [1000, *([3] * (num_classes - 1))]
    (axes,) = plot_images_per_class(counted(["a"] * num_classes, train=counts, val=[0] * num_classes)).axes
    assert "log" in (axes.get_xscale() if num_classes == 3 else axes.get_yscale())


def test_of_many_classes_the_extremes_are_named() -> None:
    names = [f"n{number}" for number in range(1000)]

    (axes,) = plot_images_per_class(counted(names, train=range(700, 1700), val=[50] * 1000)).axes

    assert "largest: n999 (1,699), n998 (1,698), n997 (1,697)" in axes.get_xlabel()
    assert "smallest: n2 (702), n1 (701), n0 (700)" in axes.get_xlabel()
    assert [line.get_label() for line in axes.get_lines()] == ["train", "val"]


@pytest.mark.parametrize("num_classes", [2, MAX_CLASSES_NAMED, MAX_CLASSES_NAMED + 1, 1000])
def test_classes_with_any_names_are_plotted(tmp_path: Path, num_classes: int) -> None:
    names = [NASTY_NAMES[number % len(NASTY_NAMES)] for number in range(num_classes)]
    counts = [1 + number % 90 for number in range(num_classes)]
    figure = plot_images_per_class(counted(names, train=counts, val=counts, test=counts))
    save_figure(figure, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width in (800, 900)
        assert image.height <= 2500


@pytest.mark.parametrize(
    ("edges", "counts", "scale"),
    [
        ([400, 600, 800], [3, 4], "linear"),
        (np.geomspace(10, 10_000, 31).tolist(), range(30), "log"),
        ([400, 400], [9], "linear"),
    ],
)
def test_sizes_are_plotted(tmp_path: Path, edges: list[float], counts: list[int], scale: str) -> None:
    figure = plot_image_sizes(measured(edges, counts))
    assert [axes.get_xscale() for axes in figure.axes] == [scale] * 3
    save_figure(figure, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1100, 340)
