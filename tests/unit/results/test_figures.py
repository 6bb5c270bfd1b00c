from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.photos import make_photo
from tests.helpers.scored import make_pass

from classifier_training.figures.samples import Tile
from classifier_training.metrics.scores import Predictions, scores_from_confusion
from classifier_training.results import figures
from classifier_training.results.figures import plot_example_figures, plot_scored, spread
from classifier_training.results.scored_pass import ScoredPass
from classifier_training.run.folder import ScoredFolder
from classifier_training.types import ImageRecord, Preprocessing

CLASSES = ("cat", "dog")
PREDICTIONS = Predictions(
    labels=np.array([0, 0, 1, 1]),
    predicted=np.array([0, 1, 1, 0]),
    confidence=np.array([0.9, 0.6, 0.7, 0.8], np.float32),
    losses=np.array([0.1, 2.0, 0.4, 3.0], np.float32),
)

SCORES = scores_from_confusion(np.array([[1, 1], [1, 1]]), 4)


def make_val(predictions: Predictions = PREDICTIONS, **changes: Any) -> ScoredPass:
    return make_pass(SCORES, predictions, CLASSES, **{"description": "val", "epoch": None, **changes})


TITLE = make_val().title


def grey(index: int) -> NDArray[np.uint8]:
    return np.full((8, 8, 3), 10 * index, np.uint8)


def shown(tiles: list[Tile]) -> list[int]:
    return [int(tile.pixels[0, 0, 0]) // 10 for tile in tiles if tile.pixels is not None]


def test_each_figure_shows_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, tuple[list[int], str]] = {}
    monkeypatch.setattr(
        figures, "plot_tiles", lambda path, tiles, title: found.update({path.name: (shown(tiles), title)})
    )
    plot_example_figures(ScoredFolder(tmp_path), make_val(num_examples=3), grey)
    assert found == {
        "samples.png": ([0, 1, 2, 3], f"samples, {TITLE}"),
        "worst_errors.png": ([3, 1], f"errors, highest loss first, {TITLE}"),
        "least_certain.png": ([1, 2, 3], f"least certain first, {TITLE}"),
    }


def test_figures_without_images_are_not_plotted_and_older_ones_are_removed(tmp_path: Path) -> None:
    folder = ScoredFolder(tmp_path)
    plot_example_figures(folder, make_val(num_examples=3), grey)
    plot_example_figures(folder, make_val(num_examples=0), grey)

    assert [path.name for path in tmp_path.iterdir()] == ["samples.png"]


def test_a_model_without_errors_has_a_title_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    monkeypatch.setattr(figures, "plot_tiles", lambda path, tiles, title: titles.append(title))
    right = Predictions(PREDICTIONS.labels, PREDICTIONS.labels, PREDICTIONS.confidence, PREDICTIONS.losses)
    plot_example_figures(ScoredFolder(tmp_path), make_val(right), grey)
    assert titles == [f"samples, {TITLE}", f"no errors, {TITLE}", f"least certain first, {TITLE}"]


def test_all_figures_are_written_also_with_missing_images(tmp_path: Path) -> None:
    records = [ImageRecord(str(make_photo(tmp_path / f"{number}.png", number))) for number in range(3)]
    records.append(ImageRecord(str(tmp_path / "gone.png")))
    folder = ScoredFolder(tmp_path / "val")
    preprocessing = Preprocessing(image_size=16)
    plot_scored(folder, make_val(records=records, preprocessing=preprocessing))
    assert {path.name for path in folder.root.iterdir()} == {
        "samples.png",
        "worst_errors.png",
        "least_certain.png",
        "confusion_matrix.png",
        "confusion_matrix_normalized.png",
        "pictures.json",
        "pictures",
    }


@pytest.mark.parametrize(
    ("num_images", "expected"), [(0, []), (3, [0, 1, 2]), (4, [0, 1, 2, 3]), (40, [5, 15, 25, 35])]
)
def test_samples_lie_evenly_over_a_split(num_images: int, expected: list[int]) -> None:
    assert spread(num_images, 4) == expected


def test_what_fails_costs_a_warning_and_nothing_else(tmp_path: Path) -> None:
    folder = ScoredFolder(tmp_path / "val")
    preprocessing = Preprocessing(image_size=16)
    with pytest.warns(UserWarning, match="could not be made") as warned:
        plot_scored(folder, make_val(records=[], preprocessing=preprocessing))
    assert [str(one.message).split(" in ")[0] for one in warned] == ["the small images", "the figures of images"]
    assert folder.confusion_figure.is_file()
