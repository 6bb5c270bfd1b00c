"""A cross-validation through the command line: whole, killed and resumed, and what is wrong with it in a line."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.cli import TINY, WarmProgram, make_shapes

from classifier_training import report
from classifier_training.data.splits.file import read_paths
from classifier_training.metrics.fold_interval import fold_interval
from classifier_training.results.tables import read_predictions_csv

SETTINGS = (*TINY, "model.pretrained=false", "trainer.max_epochs=1", "data.folds=2", "run.name=cv")
SAME_FILES = ("predictions.csv", "probabilities.npy", "scores.json", "final/export/model.onnx")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shapes(tmp_path_factory.mktemp("folds") / "shapes", num_per_class=8)


@pytest.fixture(scope="module")
def whole(program: WarmProgram, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    finished = program("train", shapes, *SETTINGS, "--refit", folder=folder)
    assert finished.code == 0, finished
    assert "about" in finished.out
    assert "each by the run of its fold; mean of 2 folds" in finished.out
    return folder / "runs" / "cv"


def test_every_photo_has_the_prediction_of_a_run_that_never_saw_it(whole: Path, shapes: Path) -> None:
    rows = list(read_predictions_csv(whole / "predictions.csv"))
    assert sorted(row.file for row in rows) == sorted(map(str, shapes.rglob("*.png")))

    position = 0
    for number in (1, 2):
        split = whole / f"fold-{number}" / "data" / "split.csv"
        tested = list(read_paths(split, "test"))
        assert [row.file for row in rows[position : position + len(tested)]] == tested
        assert not set(tested) & {*read_paths(split, "train"), *read_paths(split, "val")}
        position += len(tested)


def test_the_scores_are_those_of_the_folds(whole: Path) -> None:
    folds = [json.loads((whole / f"fold-{one}" / "results.json").read_text())["test"] for one in (1, 2)]
    scores, summary = (json.loads((whole / name).read_text()) for name in ("scores.json", "folds.json"))
    probabilities = np.load(whole / "probabilities.npy")

    assert scores["top1"] == pytest.approx(sum(one["top1"] * one["num_images"] for one in folds) / 24)
    assert len(probabilities) == scores["num_images"] == 24
    assert summary["means"]["top1"] == pytest.approx(sum(one["top1"] for one in folds) / 2)
    assert summary["intervals"]["top1"] == pytest.approx(fold_interval([one["top1"] for one in folds]))
    assert not (whole / "fold-1" / "export" / "model.onnx").exists()


def test_the_page_leads_to_the_folds_and_the_final_model(whole: Path, shapes: Path, tmp_path: Path) -> None:
    page = report(whole, output=tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(f'href="{name}/report.html"' in page for name in ("fold-1", "fold-2", "final"))
    assert sorted(read_paths(whole / "final" / "data" / "split.csv", "train")) == sorted(
        map(str, shapes.rglob("*.png"))
    )


def test_the_final_model_is_not_calibrated_on_photos_that_it_was_trained_on(whole: Path) -> None:
    results = json.loads((whole / "final" / "results.json").read_text(encoding="utf-8"))

    assert results["temperature"]["reason"].startswith("its validation photos are among those that it was trained on")
    assert "decision" not in results


def test_one_that_is_killed_in_a_fold_is_resumed_to_the_same_bits(
    program: WarmProgram, shapes: Path, whole: Path, tmp_path: Path
) -> None:
    words = ("train", shapes, *SETTINGS, "--refit")
    killed = program.signalled(signal.SIGKILL, "fold-2/checkpoints", *words, folder=tmp_path)
    assert killed.code == -signal.SIGKILL
    assert not (tmp_path / "runs" / "cv" / "final").exists()

    resumed = program("train", "--resume", folder=tmp_path)

    assert resumed.code == 0, resumed
    for name in SAME_FILES:
        assert (tmp_path / "runs" / "cv" / name).read_bytes() == (whole / name).read_bytes(), name


def test_one_that_is_stopped_says_how_all_of_it_goes_on(program: WarmProgram, shapes: Path, tmp_path: Path) -> None:
    stopped = program.signalled(signal.SIGTERM, "fold-1/checkpoints", "train", shapes, *SETTINGS, folder=tmp_path)
    assert stopped.code == 0, stopped
    assert stopped.out.splitlines()[-1] == (
        "the cross-validation is not finished; go on with it, that run included:"
        " classifier-training train --resume runs/cv"
    )


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (("data.folds=9",), "data.folds=9 needs 9 photos of every class"),
        (
            ("data.folds=3", "data.fold=4"),
            "data.fold=4 (command line), data.folds=3 (command line): there is no such fold",
        ),
        (("data.fold=1",), "a fold needs the number of folds"),
        (("--refit",), "a final model follows folds"),
        (("data.folds=1",), "data.folds"),
    ],
)
def test_what_cannot_be_is_one_line(
    program: WarmProgram, shapes: Path, tmp_path: Path, settings: tuple[str, ...], line: str
) -> None:
    finished = program("train", shapes, *TINY, *settings, folder=tmp_path)
    assert finished.code == 2
    assert line in finished.err
    assert len(finished.err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("runs/*"))
