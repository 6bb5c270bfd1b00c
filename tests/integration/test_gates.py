"""What `evaluate` writes, and the exit code of its gates: 0 passed, 1 failed, 2 a mistake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.helpers.cli import TINY, Trained, WarmProgram, make_shapes

from classifier_training.results.folder import read_scores
from classifier_training.results.tables import read_predictions_csv
from classifier_training.run.folder import RunFolder, ScoredFolder
from classifier_training.run.records import to_json


@pytest.fixture(scope="module")
def model(program: WarmProgram, trained: Trained) -> RunFolder:
    """A copy of the run, for evaluations that are written into it."""
    return RunFolder(
        Path(
            shutil.copytree(
                trained.run.root, program.folder / "runs" / "judged", ignore=shutil.ignore_patterns("evaluations")
            )
        )
    )


@pytest.fixture(scope="module")
def worse(program: WarmProgram, photos: Path) -> RunFolder:
    """Another model of the same photos that has learned nothing."""
    finished = program("train", "shapes", *TINY, "trainer.max_epochs=1", "optimizer.lr=1e-9", "run.name=worse")
    assert finished.code == 0, finished
    return RunFolder(program.folder / "runs" / "worse")


class TestFolder:
    def test_the_run_holds_what_its_best_weights_said(self, trained: Trained) -> None:
        results = json.loads(trained.run.results.read_text())
        folder = trained.run.scored("test")

        scores = read_scores(folder)

        assert to_json(scores.intervals) == results["test"]["intervals"]
        assert scores.intervals["macro_f1"] is not None
        assert (scores.model, scores.epoch) == ("checkpoints/best.ckpt", results["best"]["epoch"])
        rows = list(read_predictions_csv(folder.predictions))
        assert sum(row.true == row.predicted for row in rows) == round(results["test"]["top1"] * len(rows))
        assert all(Path(row.file).parent.name == row.true for row in rows)

    def test_the_same_is_written_by_evaluate_into_the_run(self, program: WarmProgram, model: RunFolder) -> None:
        finished = [program("evaluate", file) for file in (model.root, model.best_checkpoint, model.onnx)]

        assert [end.code for end in finished] == [0, 0, 0]
        expected = read_scores(model.scored("test"))
        for end, name in zip(finished, ("test", "test-2", "test-3"), strict=True):
            folder = ScoredFolder(model.evaluations / name)
            assert f"written to {folder.root}" in end.out
            found = read_scores(folder)
            for key in ("per_class", "intervals", "top1", "classes", "split"):
                assert getattr(found, key) == getattr(expected, key), key
            assert [row.file for row in read_predictions_csv(folder.predictions)] == [
                row.file for row in read_predictions_csv(model.scored("test").predictions)
            ]
            assert "95 % intervals: top1 " in end.out

    def test_other_photos_and_a_folder_of_ones_own(
        self, program: WarmProgram, model: RunFolder, tmp_path: Path
    ) -> None:
        make_shapes(tmp_path / "new photos", 4, seed=9)

        usual = program("evaluate", model.onnx, tmp_path / "new photos", "--json").json
        named = program("evaluate", model.root, tmp_path / "new photos", "-o", tmp_path / "here", "--json").json

        assert Path(usual["folder"]) == model.evaluations / "new photos"
        assert Path(named["folder"]) == tmp_path / "here"
        for folder in (usual["folder"], named["folder"]):
            assert read_scores(ScoredFolder(Path(folder))).top1 == usual["top1"]

    def test_a_model_in_no_run(self, program: WarmProgram, model: RunFolder, tmp_path: Path) -> None:
        shutil.copy(model.onnx, tmp_path / "deployed.onnx")
        make_shapes(tmp_path / "new", 2, seed=9)

        finished = program("evaluate", "deployed.onnx", "new", folder=tmp_path)

        assert finished.code == 0, finished
        assert "written to evaluations/deployed-new" in finished.out
        assert read_scores(ScoredFolder(tmp_path / "evaluations" / "deployed-new")).num_images == 6

    def test_a_run_into_which_nothing_can_be_written_is_scored(
        self, program: WarmProgram, model: RunFolder, tmp_path: Path
    ) -> None:
        run = RunFolder(Path(shutil.copytree(model.root, tmp_path / "run")))
        shutil.rmtree(run.evaluations, ignore_errors=True)
        run.evaluations.touch()  # a file in the place of the folder

        finished = program("evaluate", run.root)

        assert finished.code == 0, finished
        assert "warning: the evaluation is not saved" in finished.out
        assert "\ntop1 0." in finished.out


class TestMinimum:
    def test_passed_and_failed(self, program: WarmProgram, model: RunFolder) -> None:
        passed = program("evaluate", model.root, "--min", "top1=0.1", "--min", "top5=1")
        failed = program("evaluate", model.root, "--min", "top1=0.1", "--min", "macro_f1=0.9999", "-q")

        assert (passed.code, passed.err) == (0, "")
        assert passed.out.count("gate passed: ") == 2
        assert failed.code == 1
        (line,) = failed.err.splitlines()
        assert line.startswith("error: gate failed: macro_f1 0.")
        assert "is below the required 0.9999 (95 % interval 0." in line
        assert "gate passed: top1 0." in failed.out

    def test_in_json(self, program: WarmProgram, model: RunFolder) -> None:
        finished = program("evaluate", model.root, "--min", "top1=0.1", "--min", "top1=1", "--json")

        assert finished.code == 1
        assert len(finished.err.splitlines()) == 1
        first, second = finished.json["gates"]
        assert (first["gate"], first["passed"], second["passed"]) == ("min top1=0.1", True, False)
        assert second["measured"] == finished.json["top1"]
        assert second["interval"] == finished.json["intervals"]["top1"]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--min", "top2=0.5"], "--min top2=0.5: unknown score; allowed: top1, top5, balanced_accuracy"),
            (["--min", "top1=90"], "--min top1=90: a score is a number from 0 to 1"),
            (["--min", "top1=good"], "--min top1=good: 'good' is not a number"),
            (["--not-worse-than", "runs/none"], "runs/none cannot be compared with; name a run folder"),
            (["--not-worse-than", "runs/first", "--significance", "5"], "--significance 5: must be a number between"),
            (
                ["trainer.precision=bf16-mixed"],
                "evaluate does not use trainer.precision=bf16-mixed: the model is already",
            ),
            (
                ["model=resnet50", "seed=1"],
                "evaluate does not use model=resnet50, seed=1: the model is already trained",
            ),
            (["shapes", "data.root=shapes"], "the photos are given twice, by their path and as data.root; leave one"),
            (["--significance", "0.01"], "--significance 0.01 is for --not-worse-than RUN, which is not given"),
            (["--output", "shapes"], "shapes is not empty and not the folder of an evaluation"),
            (["--output", "runs/first"], "runs/first belongs to a run; name another folder"),
        ],
    )
    def test_a_mistake_is_found_before_the_model_is_scored(
        self, program: WarmProgram, model: RunFolder, words: list[str], message: str
    ) -> None:
        finished = program("evaluate", model.root, *words)

        assert finished.code == 2, finished
        assert finished.out == ""
        (line,) = finished.err.splitlines()
        assert message in line


class TestNotWorseThan:
    def test_a_run_that_is_worse_a_run_that_is_better_and_the_model_itself(
        self, program: WarmProgram, model: RunFolder, worse: RunFolder
    ) -> None:
        make_shapes(program.folder / "many", 12, seed=5)

        up = program("evaluate", model.root, "many", "--not-worse-than", worse.root)
        down = program("evaluate", worse.root, "many", "--not-worse-than", model.onnx, "--json")
        same = program("evaluate", model.root, "--not-worse-than", model.root)

        assert up.code == 0, up
        assert "is not significantly better: of 36 photos, the same for both, only it is correct on" in up.out
        assert down.code == 1, down
        (gate,) = down.json["gates"]
        assert gate["p_value"] < 0.05
        assert gate["only_other_right"] > gate["only_this_right"]
        assert "judged/export/model.onnx is better" in down.err.splitlines()[-1]
        assert "photos, paired by content, only it is correct on 0 and only this model on 0; p = 1" in same.out

    def test_the_model_itself_with_predictions_that_are_cut(
        self, program: WarmProgram, model: RunFolder, tmp_path: Path
    ) -> None:
        run = RunFolder(Path(shutil.copytree(model.root, tmp_path / "run")))
        content = run.scored("test").predictions.read_bytes()
        run.scored("test").predictions.write_bytes(content[: content.rindex(b"\n", 0, -1) + 1])

        own = program("evaluate", run.root, "--min", "top1=0.1", "--not-worse-than", run.root)
        folder = program("evaluate", run.root, "--not-worse-than", run.scored("test").root)

        assert own.code == 0, own
        assert "is scored again: " in own.out
        assert "photos, the same for both, only it is correct on 0 and only this model on 0; p = 1" in own.out
        assert (folder.code, folder.out) == (2, "")
        (line,) = folder.err.splitlines()
        assert "predictions.csv does not belong to scores.json: it has " in line

    def test_an_evaluation_folder(
        self, program: WarmProgram, model: RunFolder, worse: RunFolder, tmp_path: Path
    ) -> None:
        make_shapes(program.folder / "many", 12, seed=5)
        make_shapes(tmp_path / "few", 1, seed=6)
        assert program("evaluate", model.root, "many", "-o", tmp_path / "better").code == 0

        down = program("evaluate", worse.root, "many", "--not-worse-than", tmp_path / "better")
        lenient = program(
            "evaluate", worse.root, "many", "--not-worse-than", tmp_path / "better", "--significance", "1e-9"
        )
        other = program("evaluate", worse.root, tmp_path / "few", "--not-worse-than", tmp_path / "better")

        assert down.code == 1
        assert "36 photos, paired by file, only it is correct on" in down.err
        assert lenient.code == 0
        assert other.code == 2
        assert "is of other photos: 0 are in both (paired by file), of 3 here and 36 there" in other.err


@pytest.fixture(scope="module")
def augmented(program: WarmProgram, model: RunFolder) -> dict[str, ScoredFolder]:
    """Evaluations of the checkpoint and of the file, with and without."""
    make_shapes(program.folder / "views", 12, seed=5)
    folders = {}
    for name, words in {
        "plain": (model.root,),
        "checkpoint": (model.root, "--tta", "flip"),
        "file": (model.onnx, "--tta", "flip"),
        "five": (model.root, "--tta", "five"),
        "five of the file": (model.onnx, "--tta", "five"),
    }.items():
        finished = program("evaluate", words[0], "views", *words[1:], "--json", "-o", f"augmented/{name}")
        assert finished.code == 0, finished
        folders[name] = ScoredFolder(program.folder / "augmented" / name)
    return folders


class TestTimeAugmentation:
    def test_the_file_answers_as_the_checkpoint(self, augmented: dict[str, ScoredFolder]) -> None:
        found = {name: np.load(folder.probabilities) for name, folder in augmented.items()}

        np.testing.assert_allclose(found["file"], found["checkpoint"], atol=1e-5)
        np.testing.assert_allclose(found["five of the file"], found["five"], atol=1e-5)
        for name in ("checkpoint", "five"):
            assert np.abs(found[name] - found["plain"]).max() > 1e-4  # the model has hardly learned anything
        assert read_scores(augmented["file"]).top1 == read_scores(augmented["checkpoint"]).top1

    def test_scores_are_labelled(self, augmented: dict[str, ScoredFolder]) -> None:
        assert [read_scores(folder).tta for folder in augmented.values()] == ["none", "flip", "flip", "five", "five"]
        tables = [folder.predictions.read_text().splitlines() for folder in augmented.values()]
        assert [table[0] for table in tables[:2]] == [
            "file,true,predicted,confidence,loss",
            "file,true,predicted,confidence,loss,tta",
        ]
        assert {line.rpartition(",")[2] for line in tables[1][1:]} == {"flip"}
        assert len(list(read_predictions_csv(augmented["five"].predictions))) == 36
        pages = [(folder.root / "report.html").read_text() for folder in augmented.values()]
        assert ["test-time augmentation" in page for page in pages] == [False, True, True, True, True]
        assert ", with test-time augmentation flip." in pages[2]
        assert "2 × the time" in pages[2]

    def test_the_folder_and_what_is_printed_are_labelled(self, program: WarmProgram, model: RunFolder) -> None:
        finished = program("evaluate", model.root, "--split", "val", "--tta", "flip", "--min", "top1=0")

        assert finished.code == 0, finished
        assert f"written to {model.evaluations / 'val-flip'}" in finished.out
        assert ", with test-time augmentation flip: 2 × the time" in finished.out
        assert "(95 % interval" in finished.out
        assert "), with test-time augmentation flip\n" in finished.out

    def test_a_baseline_is_scored_in_the_same_way(
        self, program: WarmProgram, model: RunFolder, augmented: dict[str, ScoredFolder]
    ) -> None:
        words = ("evaluate", model.root, "views", "--tta", "flip", "--not-worse-than")

        alike = [program(*words, other) for other in (model.root, model.onnx, augmented["file"].root)]
        refused = program(*words, augmented["plain"].root)

        assert [end.code for end in alike] == [0, 0, 0]
        for end in alike:
            assert "only it is correct on 0 and only this model on 0; p = 1" in end.out
        assert (refused.code, refused.out) == (2, "")
        (line,) = refused.err.splitlines()
        assert "plain was scored without test-time augmentation, and this model is scored with" in line

    def test_predict(self, program: WarmProgram, model: RunFolder, augmented: dict[str, ScoredFolder]) -> None:
        evaluated = {Path(row.file).name + row.true: row for row in read_predictions_csv(augmented["file"].predictions)}

        ends = [
            program("predict", model.root, "views", "--tta", "flip", *output)
            for output in (("-o", "flip.csv"), ("-o", "flip.jsonl"), ())
        ]

        assert [end.code for end in ends] == [0, 0, 0]
        header, *rows = (program.folder / "flip.csv").read_text().splitlines()
        assert header == "file,label,probability,tta,error"
        for file, label, probability, tta, error in (row.split(",") for row in rows):
            assert not error
            expected = evaluated[Path(file).name + Path(file).parent.name]
            assert (label, tta) == (expected.predicted, "flip")
            assert float(probability) == pytest.approx(expected.confidence, abs=1e-4)
        lines = [json.loads(line) for line in (program.folder / "flip.jsonl").read_text().splitlines()]
        assert {line["tta"] for line in lines} == {"flip"}
        assert "36 of 36 predictions written to flip.csv, with test-time augmentation flip: 2 × the time" in ends[0].out
        assert "predictions, with test-time augmentation flip" in ends[2].out

    @pytest.mark.parametrize("command", ["evaluate", "predict"])
    def test_another_word_is_refused(self, program: WarmProgram, model: RunFolder, command: str) -> None:
        finished = program(command, model.root, "views", "--tta", "ten")

        assert (finished.code, finished.out) == (2, "")
        (line,) = finished.err.splitlines()
        assert "--tta" in line
        assert "none" in line
        assert "flip" in line
