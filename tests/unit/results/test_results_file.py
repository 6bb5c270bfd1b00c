from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.scored import make_pass, make_scored

from classifier_training.results.folder import class_rows
from classifier_training.results.results_file import ResultsFile, split_scores, write_results
from classifier_training.run.records import DamagedFileError, read_record


def make_results(**changed: object) -> ResultsFile:
    scores, predictions = make_scored(30, 3)
    values = {
        "monitor": "val/top1",
        "best": {"epoch": 4, "val/top1": 0.75},
        "test": split_scores(make_pass(scores, predictions, "abc")),
        "epochs": 9,
        "seconds": 61.5,
    }
    return ResultsFile(**values | changed)  # type: ignore[arg-type]  # values of a test


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    results = make_results(left_out=("bad.jpg",), export={"passed": True}, exports={"onnx": {"passed": True}})

    write_results(tmp_path / "results.json", results)

    found = read_record(tmp_path / "results.json", ResultsFile)
    assert found == results
    assert (found.best_epoch, found.best_score, found.split, found.final) == (4, 0.75, "test", results.test)


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_split_that_was_not_scored_has_no_key_and_no_export_is_null(tmp_path: Path, split: str) -> None:
    scores, predictions = make_scored(30, 3)
    scored = make_pass(scores, predictions, "abc")

    write_results(tmp_path / "results.json", make_results(**{"test": None, split: split_scores(scored)}))

    values = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(values) == ["monitor", "best", split, "epochs", "seconds", "left_out", "export", "exports"]
    assert values["export"] is None
    assert values[split]["confusion"] == scores.confusion.tolist()
    assert values[split]["intervals"] == scored.intervals.to_dict()
    assert [row["class"] for row in values[split]["classes"]] == [row.name for row in class_rows(scored)]


def test_a_file_of_version_0_1_is_read(tmp_path: Path) -> None:
    scores, _ = make_scored(30, 3)
    old = {"monitor": "val/loss", "best": {"epoch": 0, "val/loss": 0.5}, "test": scores.to_dict("abc"), "epochs": 1}
    path = tmp_path / "results.json"
    path.write_text(json.dumps(old | {"seconds": 3.5, "left_out": [], "export": {"opset_version": 18}}))

    found = read_record(path, ResultsFile)

    assert found.test is not None
    assert (found.test.top1, found.test.intervals, found.exports) == (scores.top1, {}, {})
    path.write_text(json.dumps(old))
    with pytest.raises(DamagedFileError, match="has no seconds"):
        read_record(path, ResultsFile)
