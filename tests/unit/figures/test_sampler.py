from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from tests.unit.figures.nasty_names import NASTY_NAMES

from classifier_training.figures.rendering import save_figure
from classifier_training.figures.sampler import MAX_CLASSES_APART, NUM_GROUPS, plot_sampled_classes


def heights(figure: Figure, side: int) -> list[list[float]]:
    """Height of every bar, by layer from below."""
    bars: list[Any] = list(figure.axes[side].containers)
    return [[bar.get_height() for bar in layer] for layer in bars]


def labels(figure: Figure) -> list[str]:
    """Of the layers, from below."""
    return [text.get_text() for text in figure.legends[0].get_texts()][::-1]


def test_a_layer_is_a_class_the_largest_one_below() -> None:
    drawn = np.array([[10, 11, 12], [13, 14, 15]])

    figure = plot_sampled_classes(["few", "many", "some"], np.array([1, 30, 5]), [0, 1], drawn)

    assert labels(figure) == ["many", "some", "few"]
    assert heights(figure, 0) == [[30], [5], [1]]
    assert heights(figure, 1) == [[11, 14], [12, 15], [10, 13]]


def test_many_classes_are_grouped_by_their_size() -> None:
    images = np.arange(1, 1001)
    figure = plot_sampled_classes([str(count) for count in images], images, [0], np.ones((1, 1000), np.int64))

    assert len(labels(figure)) == NUM_GROUPS
    assert labels(figure)[0] == "100 classes of 901 to 1,000 images"
    assert sum(height for (height,) in heights(figure, 0)) == images.sum()
    assert heights(figure, 1) == [[100]] * NUM_GROUPS


def test_groups_of_one_size_are_told_as_one() -> None:
    images = np.full(MAX_CLASSES_APART + 1, 7)
    figure = plot_sampled_classes(["a"] * len(images), images, [0], images[None])
    assert labels(figure)[0] == "3 classes of 7 images"


@pytest.mark.parametrize("num_classes", [2, 1000])
@pytest.mark.parametrize("num_epochs", [1, 100])
def test_classes_with_any_names_are_plotted(tmp_path: Path, num_classes: int, num_epochs: int) -> None:
    names = [NASTY_NAMES[number % len(NASTY_NAMES)] for number in range(num_classes)]
    drawn = np.random.default_rng(0).integers(0, 50, (num_epochs, num_classes))
    save_figure(plot_sampled_classes(names, drawn[0], range(num_epochs), drawn), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (1000, 450)
