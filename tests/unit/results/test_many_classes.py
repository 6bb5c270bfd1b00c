"""Four thousand classes, whose whole matrix would be 128 MB: nothing from the logits to the page is that large."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.helpers.markup import read_markup

from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.confusion import MAX_MATRIX_CLASSES, Confusion
from classifier_training.metrics.intervals import score_intervals
from classifier_training.metrics.scores import Scores, scores_from_confusion
from classifier_training.models.metrics import ClassificationCounts, most_probable_classes
from classifier_training.pages.read.reading import Reader
from classifier_training.pages.read.scored_files import read_scored
from classifier_training.pages.write import report
from classifier_training.results.figures import plot_confusion_figures
from classifier_training.results.folder import write_scored
from classifier_training.results.results_file import ResultsFile, SplitScores, split_scores, write_results
from classifier_training.results.scored_pass import LabelledImages, ScoredPass
from classifier_training.run.folder import ScoredFolder
from classifier_training.run.records import DamagedFileError, read_record, write_record
from classifier_training.terminal.score_table import MOST_CLASSES, NUM_WEAKEST, show_scores
from classifier_training.terminal.terminal import Terminal

NUM_CLASSES, NUM_IMAGES = 4_000, 512
NAMES = tuple(f"class {number}" for number in range(NUM_CLASSES))


class Written(NamedTuple):
    folder: ScoredFolder
    scored: ScoredPass
    peak_bytes: int
    largest_part: int


def make_logits() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, NUM_CLASSES, NUM_IMAGES)
    logits = generator.random((NUM_IMAGES, NUM_CLASSES), np.float32)
    logits[np.arange(0, NUM_IMAGES, 2), labels[::2]] += 2
    return logits, labels


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    logits, labels = make_logits()
    folder = ScoredFolder(tmp_path_factory.mktemp("many"))
    parts: list[int] = []
    part = Confusion.part

    def noted(cells: Confusion, classes: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        parts.append(len(classes))
        return part(cells, classes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Confusion, "part", noted)
        tracemalloc.start()  # numpy tells it what it takes
        try:
            scoring = ScoringPass(NUM_CLASSES, max_probabilities=0)
            for start in range(0, NUM_IMAGES, 64):
                scoring.update(logits[start : start + 64], labels[start : start + 64])
            scores, predictions = scoring.result()
            intervals, peak_bytes = score_intervals(scores), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        files = [f"{number}.jpg" for number in range(NUM_IMAGES)]
        scored = ScoredPass(LabelledImages(files, labels, NAMES, "many"), "model", scores, predictions, intervals)
        write_scored(folder, scored)
        results = ResultsFile(monitor="a", best={"epoch": 0, "a": 1}, test=split_scores(scored), epochs=1, seconds=1)
        write_results(folder.root / "results.json", results)
        plot_confusion_figures(folder, scored)
        report(folder.root)
    return Written(folder, scored, peak_bytes, max(parts))


def test_memory_and_files_grow_with_the_images_and_not_with_the_square_of_the_classes(written: Written) -> None:
    assert written.peak_bytes < 64e6
    assert written.largest_part < 100
    sizes = {path.name: path.stat().st_size for path in written.folder.root.iterdir()}
    assert sizes.pop("results.json") < 6e6  # scores and intervals of each class
    assert sizes.pop("scores.json") < 6e6
    assert max(sizes.values()) < 1e6, sizes


def test_every_file_gives_the_same_matrix(written: Written) -> None:
    cells = written.scored.scores.cells
    results = read_record(written.folder.root / "results.json", ResultsFile)
    from_page = read_scored(Reader(written.folder.root), written.folder)
    assert results.test is not None
    assert from_page is not None
    assert from_page.confusion is not None
    for found in (results.test.cells, from_page.confusion):
        assert found.num_classes == NUM_CLASSES
        for name in ("labels", "predicted", "counts"):
            np.testing.assert_array_equal(getattr(found, name), getattr(cells, name))
    assert scores_from_confusion(results.test.cells, 0).macro_f1 == written.scored.scores.macro_f1


def test_the_page_shows_the_weakest_classes_and_the_most_confused_ones(written: Written) -> None:
    page = read_markup((written.folder.root / "report.html").read_text(encoding="utf-8"))
    matrix = json.loads(page.with_id("matrix-data").text)
    table = page.with_id("classes-table").text

    assert table.count("class ") == 200
    assert "4,000 classes by F1" in page.with_id("classes").text
    assert len(matrix["classes"]) < 100
    totals = dict(zip(NAMES, written.scored.scores.cells.support.tolist(), strict=True))
    assert matrix["totals"] == [totals[name] for name in matrix["classes"]]
    known = range(len(matrix["classes"]))
    assert all(
        set(map(int, one.attributes["data-cell"].split(","))) <= set(known) for one in page.all("button", "pair")
    )


def test_validation_counts_the_same_and_once(written: Written) -> None:
    logits, labels = map(torch.from_numpy, make_logits())
    counts = ClassificationCounts(NUM_CLASSES)
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        for part, of_part in zip(torch.split(logits, 128), torch.split(labels, 128), strict=True):
            counts.update(part, most_probable_classes(part), of_part)
    finally:
        torch.use_deterministic_algorithms(was_deterministic)
    assert counts.compute().by_name() == written.scored.scores.by_name()


def test_the_terminal_shows_the_weakest_classes(written: Written, capsys: pytest.CaptureFixture[str]) -> None:
    show_scores(Terminal(), written.scored.scores, NAMES, "scores")
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) < NUM_WEAKEST + 12
    assert f"the {NUM_WEAKEST} weakest of {NUM_CLASSES} classes" in " ".join(shown)


@pytest.mark.parametrize("num_classes", [MOST_CLASSES, MAX_MATRIX_CLASSES])
def test_up_to_the_limits_everything_is_there(num_classes: int, capsys: pytest.CaptureFixture[str]) -> None:
    scores = scores_from_confusion(np.eye(num_classes, dtype=np.int64), num_classes)
    assert scores.to_dict(NAMES[:num_classes])["confusion"] == scores.confusion.tolist()
    show_scores(Terminal(), scores, NAMES[:num_classes], "scores")
    assert len(capsys.readouterr().out.splitlines()) > num_classes


@pytest.mark.parametrize(
    "cells",
    [
        {"true": [0], "predicted": [300], "count": [1]},
        {"true": [0, 1], "predicted": [0], "count": [1]},
        {"true": [0], "predicted": [0], "count": [-1]},
        None,
    ],
)
def test_cells_that_do_not_fit_are_refused(tmp_path: Path, cells: object) -> None:
    whole: Scores = scores_from_confusion(Confusion.from_pairs(np.arange(300), np.arange(300), 300), 300)
    values = whole.to_dict([str(number) for number in range(300)])
    assert "confusion" not in values
    write_record(tmp_path / "scores.json", values | {"confusion_cells": cells})
    with pytest.raises(DamagedFileError):
        read_record(tmp_path / "scores.json", SplitScores)
