"""One number everywhere: training, evaluation, the exported file, the command line and the Python functions."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.cli import TINY, Trained, WarmProgram, make_shapes, run_program

BEST = "runs/first/checkpoints/best.ckpt"
ONNX = "runs/first/export/model.onnx"


@pytest.fixture(scope="module")
def results(trained: Trained) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(trained.run.results.read_text(encoding="utf-8"))
    assert 0 < content["test"]["top1"] < 1  # or any two models would agree
    return content


def split(trained: Trained, name: str) -> list[tuple[str, str]]:
    """Path and label of every photo of a split."""
    with trained.run.split.open(encoding="utf-8", newline="") as file:
        return [(row["path"], row["label"]) for row in csv.DictReader(file) if row["split"] == name]


class TestEvaluate:
    @pytest.mark.parametrize("model", ["runs/first", BEST, ONNX])
    def test_the_test_scores_are_those_of_the_run(
        self, program: WarmProgram, results: dict[str, Any], model: str
    ) -> None:
        finished = program("evaluate", model, "--json")

        assert finished.code == 0, finished
        assert {name: finished.json[name] for name in results["test"]} == results["test"]

    def test_a_fresh_process_gives_them_too(self, program: WarmProgram, results: dict[str, Any]) -> None:
        finished = run_program("evaluate", BEST, "--json", folder=program.folder)

        assert {name: finished.json[name] for name in results["test"]} == results["test"]

    @pytest.mark.parametrize("model", ["runs/first", ONNX])
    def test_the_validation_score_is_the_monitored_one(
        self, program: WarmProgram, results: dict[str, Any], model: str
    ) -> None:
        scores = program("evaluate", model, "--split", "val", "--json").json

        assert scores["top1"] == results["best"]["val/top1"]

    def test_naming_the_photos_of_the_run_scores_its_own_split(
        self, program: WarmProgram, results: dict[str, Any]
    ) -> None:
        scores = program("evaluate", BEST, "shapes", "--json").json

        assert scores["top1"] == results["test"]["top1"]
        assert scores["num_images"] == results["test"]["num_images"]

    def test_photos_may_be_a_setting(self, program: WarmProgram, results: dict[str, Any]) -> None:
        make_shapes(program.folder / "more", 4, seed=9)

        assert program("evaluate", BEST, "data.root=more", "--json").json["num_images"] == 12

    @pytest.mark.parametrize("model", [BEST, ONNX])
    def test_photos_that_were_trained_on_are_counted_wherever_they_lie(
        self, program: WarmProgram, trained: Trained, tmp_path: Path, model: str
    ) -> None:
        shutil.copytree(program.folder / "shapes", tmp_path / "copy")

        finished = program("evaluate", program.folder / model, tmp_path / "copy")

        num_trained_on = len(split(trained, "train"))
        assert (
            f"{num_trained_on} of these photos were used for training: the scores are too optimistic"
            f" ({tmp_path / 'copy'}"
        ) in finished.out
        (written,) = (program.folder / "runs/first/evaluations").glob("copy*/scores.json")
        scores = json.loads(written.read_text(encoding="utf-8"))
        shutil.rmtree(written.parent)
        assert (scores["num_trained_on"], len(scores["trained_on"])) == (num_trained_on, min(num_trained_on, 20))
        assert program("evaluate", model, "--json").json["num_trained_on"] == 0

    @pytest.mark.parametrize("model", [BEST, ONNX])
    def test_photos_of_the_run_that_have_moved_are_scored_with_the_words_that_are_printed(
        self, program: WarmProgram, results: dict[str, Any], tmp_path: Path, model: str
    ) -> None:
        shutil.copytree(program.folder / "shapes", tmp_path / "moved to")

        printed = program("evaluate", model, tmp_path / "moved to", "--json").err

        words = shlex.split(re.findall(r"to score them alone, type: (.*)", printed)[0])
        assert words == ["classifier-training", "evaluate", model, f"data.root={tmp_path / 'moved to'}"]
        scores = program(*words[1:], "--json").json
        assert {name: scores[name] for name in results["test"]} == results["test"]
        assert scores["num_trained_on"] == 0

    def test_other_photos(self, program: WarmProgram, trained: Trained) -> None:
        make_shapes(program.folder / "new", 5, ["red", "green"], seed=7)

        scores = [program("evaluate", model, "new", "data.batch_size=3", "--json").json for model in (BEST, ONNX)]

        assert scores[0]["num_images"] == 10
        assert {**scores[0], "model": None, "folder": None} == {**scores[1], "model": None, "folder": None}

    def test_a_copied_checkpoint_and_model_need_only_photos(
        self, program: WarmProgram, trained: Trained, tmp_path: Path
    ) -> None:
        make_shapes(tmp_path / "new", 5, seed=7)
        for file in (BEST, ONNX):
            shutil.copy(program.folder / file, tmp_path)

        scores = [
            program("evaluate", model, "new", "--json", folder=tmp_path).json for model in ("best.ckpt", "model.onnx")
        ]

        assert scores[0]["top1"] == scores[1]["top1"]
        assert scores[0]["num_images"] == 15

    def test_a_plain_line_for_scripts(self, program: WarmProgram, results: dict[str, Any]) -> None:
        finished = program("evaluate", "runs/first")

        assert f"top1 {results['test']['top1']:.4f}" in finished.out.splitlines()
        assert re.search(r"│ blue +│ +\d\.\d{3} │", finished.out)
        assert finished.err == ""

    def test_quiet_leaves_nothing_but_the_plain_lines(self, program: WarmProgram, results: dict[str, Any]) -> None:
        finished = program("evaluate", "runs/first", "--quiet")

        assert all(re.fullmatch(r"[a-z_0-9]+ \d\.\d{4}", line) for line in finished.out.splitlines())
        assert finished.out.startswith("top1 ")

    def test_a_broken_photo_is_named_or_left_out(self, program: WarmProgram, trained: Trained) -> None:
        folder = make_shapes(program.folder / "broken", 3, ["red"])
        (folder / "red" / "bad.png").write_bytes(b"no image")

        stopped = program("evaluate", BEST, "broken")
        skipped = program("evaluate", BEST, "broken", "data.on_bad_image=skip", "--json")

        assert stopped.code == 2
        assert "bad.png" in stopped.err
        assert skipped.json["num_images"] == 3
        assert [Path(path).name for path in skipped.json["left_out"]] == ["bad.png"]
        assert "1 unreadable file(s) left out" in skipped.err


class TestPredict:
    def test_the_predictions_on_the_test_photos_are_the_score(
        self, program: WarmProgram, trained: Trained, results: dict[str, Any]
    ) -> None:
        photos = split(trained, "test")

        finished = program("predict", "runs/first", *(path for path, _ in photos), "--output", "labels.csv")

        assert finished.code == 0, finished
        with (program.folder / "labels.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["file"] for row in rows] == [path for path, _ in photos]
        right = sum(row["label"] == label for row, (_, label) in zip(rows, photos, strict=True))
        assert right / len(photos) == results["test"]["top1"]

    def test_json_lines_hold_every_probability(self, program: WarmProgram, trained: Trained) -> None:
        finished = program("predict", ONNX, "shapes", "--output", "labels.jsonl", "--batch-size", "5")

        assert finished.code == 0, finished
        lines = (program.folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert len(rows) == 48
        for row in rows:
            assert list(row["probabilities"]) == ["blue", "green", "red"]
            assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-6)
            assert row["probability"] == max(row["probabilities"].values())
            assert row["probabilities"][row["label"]] == row["probability"]

    def test_a_table_where_no_file_is_asked_for(self, program: WarmProgram, trained: Trained) -> None:
        finished = program("predict", "runs/first", "shapes/red/00.png")

        assert re.search(r"shapes/red/00.png │ +(red|green|blue) │ +0\.\d{6} │", finished.out)

    def test_a_broken_photo_stops_or_is_left_out_when_asked(self, program: WarmProgram, trained: Trained) -> None:
        (program.folder / "bad.jpg").write_bytes(b"no image")
        arguments = ("predict", "runs/first", "bad.jpg", "shapes/red/00.png", "--output", "some.csv", "--on-bad-image")

        stopped = program(*arguments, "stop")
        assert not (program.folder / "some.csv").exists()
        skipped = program(*arguments, "skip")

        assert (stopped.code, len(stopped.err.splitlines())) == (2, 1)
        assert "bad.jpg" in stopped.err
        assert skipped.code == 0
        assert "left out" in skipped.out
        assert len((program.folder / "some.csv").read_text().splitlines()) == 2


PYTHON = """
import json, sys
from classifier_training import evaluate, export, predict, train

*settings, photos = sys.argv[1:]
result = train(photos, settings, {"trainer.max_epochs": 2, "data.test_fraction": 0.3, "run.name": "python"}, quiet=True)
onnx = export(result.run)
print("RESULT " + json.dumps({
    "train": result.test.top1,
    "best": result.best_score,
    "val": evaluate(result.run, split="val").scores.top1,
    "run": evaluate(result.run).to_dict(),
    "best_checkpoint": evaluate(result.best_checkpoint, photos, "data.batch_size=3").to_dict(),
    "onnx": evaluate(onnx).to_dict(),
    "labels": [prediction.label for prediction in predict(onnx, [photos + "/red", photos + "/blue/00.png"])],
}))
"""


def test_the_python_functions_give_the_same_numbers(
    program: WarmProgram, trained: Trained, results: dict[str, Any]
) -> None:
    finished = program.python(PYTHON, *TINY, "optimizer.lr=3e-4", trained.photos)

    assert finished.code == 0, finished
    (line,) = (line for line in finished.out.splitlines() if line.startswith("RESULT "))
    found = json.loads(line.removeprefix("RESULT "))
    assert found["train"] == results["test"]["top1"]
    assert found["best"] == found["val"] == results["best"]["val/top1"]
    for name in ("run", "best_checkpoint", "onnx"):
        assert {key: found[name][key] for key in results["test"]} == results["test"], name
    assert len(found["labels"]) == 17
    assert set(found["labels"]) <= {"blue", "green", "red"}


@pytest.mark.parametrize("settings", [["ema.enabled=false"], ["ema.decay=0.5", "ema.warmup_steps=3"]])
def test_the_average_that_was_scored_is_what_is_saved(
    program: WarmProgram, photos: Path, settings: list[str], tmp_path: Path
) -> None:
    settings = [*TINY, *settings, "trainer.max_epochs=2", "run.name=ema", "data.test_fraction=0.3"]
    finished = program("train", photos, *settings, folder=tmp_path)
    assert finished.code == 0, finished

    results = json.loads((tmp_path / "runs" / "ema" / "results.json").read_text())
    scores = [
        program("evaluate", f"runs/ema/{file}", "--split", split, "--json", folder=tmp_path).json["top1"]
        for file in ("checkpoints/best.ckpt", "export/model.onnx")
        for split in ("val", "test")
    ]
    assert scores == 2 * [results["best"]["val/top1"], results["test"]["top1"]]


def test_json_is_all_that_comes_on_standard_output(program: WarmProgram, trained: Trained) -> None:
    finished = program("evaluate", "runs/first", "--json")

    assert len(finished.out.splitlines()) == 1
    assert finished.out.startswith("{")
