from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.photos import make_photo
from tests.helpers.scored import make_pass

from classifier_training.figures.rendering import PlottingBudget
from classifier_training.metrics.scores import Predictions, scores_from_confusion
from classifier_training.results.examples import (
    MAX_IN_CELLS,
    MAX_PER_CELL,
    choose_examples,
    least_certain,
    of_cells,
    worst_errors,
    write_examples,
)
from classifier_training.run.folder import ScoredFolder
from classifier_training.types import ImageRecord, Preprocessing

PREPROCESSING = Preprocessing(image_size=32)
CLASSES = ("cat", "dog")


def make_predictions(labels: list[int], predicted: list[int], losses: list[float]) -> Predictions:
    confidence = np.linspace(0.5, 1.0, len(labels), dtype=np.float32)
    return Predictions(np.array(labels), np.array(predicted), confidence, np.array(losses, np.float32))


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.fixture
def folder(tmp_path: Path) -> ScoredFolder:
    return ScoredFolder(tmp_path / "val")


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    return [
        ImageRecord(str(make_photo(tmp_path / "photos" / f"{number}.jpg", number, (80, 60)))) for number in range(4)
    ]


PREDICTIONS = make_predictions([0, 0, 1, 1], [0, 1, 1, 0], [0.1, 2.0, 0.2, 3.0])


def write_some(
    folder: ScoredFolder,
    records: list[ImageRecord],
    predictions: Predictions = PREDICTIONS,
    budget: PlottingBudget | None = None,
    **changes: Any,
) -> bool:
    confusion, num_top5 = np.zeros((2, 2), np.int64), len(predictions)
    np.add.at(confusion, (predictions.labels, predictions.predicted), 1)
    scored = make_pass(
        scores_from_confusion(confusion, num_top5), predictions, CLASSES, **{"num_examples": 1, **changes}
    )
    return write_examples(folder, scored, records, PREPROCESSING, budget)


def write(folder: ScoredFolder, records: list[ImageRecord], **options: Any) -> list[dict[str, Any]]:
    write_some(folder, records, **options)
    content = json.loads(folder.images.read_text())
    assert content["format"] == 1
    images: list[dict[str, Any]] = content["pictures"]
    return images


def written(folder: ScoredFolder) -> dict[str, tuple[int, bytes]]:
    files = folder.thumbnails.iterdir()
    return {path.name: (path.stat().st_ino, path.read_bytes()) for path in files}


# -- which images ----------------------------------------------------------------------------------------------


def test_the_worst_are_errors_by_loss_and_the_least_certain_are_all_by_confidence() -> None:
    predictions = Predictions(
        labels=np.array([0, 0, 1, 1, 0]),
        predicted=np.array([1, 0, 0, 1, 1]),
        confidence=np.array([0.9, 0.4, 0.8, 0.7, 0.5], np.float32),
        losses=np.array([1.0, 9.0, math.inf, 0.1, 1.0], np.float32),
    )
    assert worst_errors(predictions, 10) == [2, 0, 4]
    assert worst_errors(predictions, 1) == [2]
    assert least_certain(predictions, 2) == [1, 4]
    assert choose_examples(predictions, 1) == {2: ["worst", "cell"], 1: ["least_certain", "cell"], 0: ["cell"],
                                               4: ["cell"], 3: ["cell"]}  # fmt: skip


def test_a_cell_shows_its_highest_losses() -> None:
    losses = np.random.default_rng(0).permutation(40).tolist()
    predictions = make_predictions([0] * 40, [1] * 20 + [0] * 20, losses)
    chosen = of_cells(predictions)
    assert len(chosen) == 2 * MAX_PER_CELL
    wrong, right = chosen[:MAX_PER_CELL], chosen[MAX_PER_CELL:]
    assert wrong == sorted(range(20), key=lambda index: -losses[index])[:MAX_PER_CELL]
    assert right == sorted(range(20, 40), key=lambda index: -losses[index])[:MAX_PER_CELL]


def test_errors_come_first_and_every_cell_gets_one_before_any_gets_two() -> None:
    num_classes = 60
    labels, predicted = (grid.ravel().repeat(2) for grid in np.indices((num_classes, num_classes)))
    losses = np.zeros(len(labels))
    chosen = of_cells(make_predictions(labels.tolist(), predicted.tolist(), losses.tolist()))
    assert len(chosen) == len(set(chosen)) == MAX_IN_CELLS
    cells = labels[chosen] * num_classes + predicted[chosen]
    assert len(set(cells.tolist())) == MAX_IN_CELLS
    assert (labels[chosen] != predicted[chosen]).all()


def test_one_image_is_enough() -> None:
    assert choose_examples(make_predictions([1], [1], [0.3]), 5) == {0: ["least_certain", "cell"]}


# -- what is written ---------------------------------------------------------------------------------------------


def test_each_image_is_listed_with_its_thumbnail(folder: ScoredFolder, records: list[ImageRecord]) -> None:
    images = write(folder, records)
    assert images[0] == {
        "index": 3,
        "file": records[3].path,
        "true": "dog",
        "predicted": "cat",
        "confidence": 1.0,
        "loss": 3.0,
        "why": ["worst", "cell"],
        "thumbnail": "pictures/3.jpg",
        "cam": None,
    }
    assert [picture["index"] for picture in images] == [3, 0, 1, 2]
    for picture in images:
        assert size_of(folder.root / picture["thumbnail"]) == (32, 32)


def test_an_infinite_loss_is_none_because_json_has_no_infinity(
    folder: ScoredFolder, records: list[ImageRecord]
) -> None:
    predictions = make_predictions([0], [1], [math.inf])
    assert write(folder, records, predictions=predictions)[0]["loss"] is None


def test_thumbnails_are_written_once(folder: ScoredFolder, records: list[ImageRecord]) -> None:
    write(folder, records)
    before = written(folder)
    write(folder, records)
    assert written(folder) == before


def test_a_missing_or_broken_image_has_no_thumbnail(folder: ScoredFolder, records: list[ImageRecord]) -> None:
    Path(records[3].path).unlink()
    Path(records[1].path).write_bytes(b"no picture")
    missing = {picture["index"] for picture in write(folder, records) if picture["thumbnail"] is None}
    assert missing == {1, 3}


def test_thumbnails_of_another_data_set_are_not_taken_for_its_own(
    folder: ScoredFolder, records: list[ImageRecord], tmp_path: Path
) -> None:
    write(folder, records)
    before = written(folder)
    others = [ImageRecord(str(make_photo(tmp_path / "other" / f"{number}.jpg", 90 + number))) for number in range(2)]
    write(folder, others, predictions=make_predictions([0, 1], [0, 1], [0.1, 0.2]))
    after = written(folder)
    assert after.keys() == {"0.jpg", "1.jpg"}
    assert all(after[name][1] != before[name][1] for name in after)


def test_what_is_no_longer_shown_is_kept_for_later_epochs_and_removed_at_the_end(
    folder: ScoredFolder, records: list[ImageRecord]
) -> None:
    write(folder, records)
    fewer = make_predictions([0, 0], [0, 0], [0.1, 0.2])
    (folder.thumbnails / "77.jpg").write_bytes(b"of another data set")
    write(folder, records, predictions=fewer, budget=PlottingBudget())
    assert written(folder).keys() == {"0.jpg", "1.jpg", "2.jpg", "3.jpg"}
    write(folder, records, predictions=fewer)
    assert written(folder).keys() == {"0.jpg", "1.jpg"}


def test_without_time_only_the_thumbnails_that_are_there_are_named(
    folder: ScoredFolder, records: list[ImageRecord]
) -> None:
    closed = PlottingBudget(share=0)
    closed.spent = 1.0
    assert not write_some(folder, records, budget=closed)
    assert all(picture["thumbnail"] is None for picture in write(folder, records, budget=closed))
    write(folder, records)
    assert all(picture["thumbnail"] for picture in write(folder, records, budget=closed))
    assert write_some(folder, records, budget=closed)


def test_the_worst_errors_come_first_when_there_is_little_time(
    folder: ScoredFolder, records: list[ImageRecord]
) -> None:
    budget = PlottingBudget(share=0)  # open until something was spent
    images = write(folder, records, budget=budget)
    assert [picture["thumbnail"] for picture in images] == ["pictures/3.jpg", None, None, None]


def test_grad_cam_maps_are_computed_for_the_worst_errors(folder: ScoredFolder, records: list[ImageRecord]) -> None:
    asked: list[list[int]] = []

    def cam(indices: list[int]) -> Mapping[int, NDArray[np.float32]]:
        asked.append(indices)
        return {index: np.eye(4, dtype=np.float32) for index in indices}

    Path(records[1].path).unlink()
    images = write(folder, records, num_examples=3, cam=cam)
    assert asked == [[3]], "a picture that cannot be read was asked for, or one that is no error"
    assert {picture["index"]: picture["cam"] for picture in images} == {
        3: "pictures/3-cam.jpg",
        1: None,
        0: None,
        2: None,
    }
    assert size_of(folder.root / "pictures/3-cam.jpg") == (32, 32)
    assert all(picture["cam"] is None for picture in write(folder, records))
    assert not (folder.root / "pictures/3-cam.jpg").exists(), "it is of other weights"


def test_names_that_are_no_text_are_written(folder: ScoredFolder, records: list[ImageRecord], tmp_path: Path) -> None:
    hostile = [*records[:3], ImageRecord(str(tmp_path / "\udce9<script>.jpg"))]
    images = write(folder, hostile)
    assert images[0]["thumbnail"] is None
    assert images[0]["file"].endswith(r"\udce9<script>.jpg")
