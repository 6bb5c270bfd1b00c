"""The command `predict`, run in this process with a model that tells colours apart."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet
from tests.helpers.images import make_image
from tests.helpers.onnx_models import make_onnx
from tests.helpers.web import serve

from classifier_training import cli
from classifier_training.files.tables import read_rows
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.decision import Decision
from classifier_training.inference.unknown import UnknownCard
from classifier_training.types import Preprocessing

CLASSES = ("red", "green", "blue")


class Ended:
    """What a command has left: its exit code, and the lines of its outputs."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.errors = [line.removeprefix("error: ") for line in err.splitlines()]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs `predict` in a folder with ``model.onnx`` and ``photos``, of which the third is broken."""
    monkeypatch.chdir(tmp_path)
    make_onnx(Path("model.onnx"), metadata=DeploymentCard(CLASSES, Preprocessing(image_size=16)).to_metadata())
    for channel, name in enumerate(("c", "a b", "two\nlines")):
        pixels = np.zeros((20, 30, 3), np.uint8)
        pixels[..., channel] = 255
        make_image(Path("photos") / f"{name}.png", pixels)
    Path("photos/broken.jpg").write_bytes(b"no image")

    def run(*words: str | Path, model: str = "model.onnx", stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code: Any = 0
        try:
            cli.main(["predict", *([model] if model else []), *map(str, words)])
        except SystemExit as ended:
            code = ended.code
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


def rows_of(path: Path) -> list[dict[str, str]]:
    header, *rows = read_rows(path)
    return [dict(zip(header, row, strict=True)) for row in rows]


FILES = ["photos/a b.png", "photos/broken.jpg", "photos/c.png", "photos/two\nlines.png"]
LABELS = ["green", "", "red", "blue"]


def test_a_broken_file_is_a_row_and_the_exit_code(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run("photos", "-o", "labels.csv")

    assert ended.code == 1
    (line,) = ended.errors
    assert line.startswith("1 of 4 images cannot be predicted: cannot read photos/broken.jpg: it is not an image")
    rows = rows_of(tmp_path / "labels.csv")
    assert [row["file"] for row in rows] == FILES
    assert [row["label"] for row in rows] == LABELS
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    assert [bool(row["probability"]) for row in rows] == [True, False, True, True]
    assert "3 of 4 predictions written to labels.csv" in ended.out
    assert {path.name for path in tmp_path.iterdir()} == {"labels.csv", "model.onnx", "photos"}


def test_all_formats_hold_the_same(run: Callable[..., Ended], tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert run("photos", "-o", name, "--batch-size", "3").code == 1

    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    table = parquet.read_table(tmp_path / "a.parquet")
    columns = table.to_pylist()
    assert [row["file"] for row in lines] == [row["file"] for row in columns] == FILES
    assert [row["label"] or "" for row in lines] == [row["label"] or "" for row in columns] == LABELS
    assert [row["error"] for row in lines] == [row["error"] for row in columns]
    assert json.loads(table.schema.metadata[b"classes"]) == list(CLASSES)
    for line, column, cells in zip(lines, columns, rows_of(tmp_path / "a.csv"), strict=True):
        if line["error"] is None:
            assert list(line["probabilities"]) == list(CLASSES)
            assert list(line["probabilities"].values()) == column["probabilities"]
            assert line["probability"] == column["probability"] == max(column["probabilities"])
            assert cells["probability"] == f"{line['probability']:.6f}"
            assert cells["error"] == ""
        else:
            assert line["probability"] is column["probability"] is line["probabilities"] is column["probabilities"]
            assert cells["error"] == line["error"]


def test_a_format_alone_goes_to_standard_output(run: Callable[..., Ended], tmp_path: Path) -> None:
    run("photos", "-o", "a.csv")
    run("photos", "-o", "a.jsonl")

    printed = [run("photos", "--format", name).out for name in ("csv", "jsonl")]

    assert printed == [(tmp_path / name).read_text() for name in ("a.csv", "a.jsonl")]
    assert run("photos", "-o", "a.txt", "--format", "csv").code == 1
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_the_table_shows_errors_where_there_are_some(run: Callable[..., Ended]) -> None:
    assert "error" not in run("photos/c.png").out
    ended = run("photos/c.png", "photos/broken.jpg")
    assert "photos/c.png" in ended.out
    assert "cannot read photos/broken.jpg" in ended.out
    assert ended.code == 1


@pytest.mark.parametrize("word", ["stop", "raise"])
def test_it_can_stop_at_a_broken_file(run: Callable[..., Ended], word: str, tmp_path: Path) -> None:
    ended = run("photos", "-o", "labels.csv", "--batch-size", "1", "--on-bad-image", word)

    assert ended.code == 2
    assert len(ended.errors) == 1
    assert "photos/broken.jpg" in ended.errors[0]
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "photos"}


def test_it_can_leave_a_broken_file_out(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run("photos", "-o", "labels.csv", "--on-bad-image", "skip")

    assert ended.code == 0
    assert "left out: cannot read photos/broken.jpg" in ended.out
    assert "3 of 4 predictions written" in ended.out
    rows = rows_of(tmp_path / "labels.csv")
    assert [list(row) for row in rows] == [["file", "label", "probability"]] * 3


def test_the_most_probable_classes(run: Callable[..., Ended], tmp_path: Path) -> None:
    run("photos", "-o", "a.csv", "--top-k", "2")
    run("photos", "-o", "a.jsonl", "--top-k", "2")
    run("photos", "-o", "all.jsonl")

    lines, everything = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()] for name in ("a.jsonl", "all.jsonl")
    )
    for cells, line, every in zip(rows_of(tmp_path / "a.csv"), lines, everything, strict=True):
        assert list(cells)[:5] == ["file", "label", "probability", "label_2", "probability_2"]
        assert "probabilities" not in line
        if line["error"]:
            assert line["top"] == []
            continue
        expected = sorted(every["probabilities"].items(), key=lambda one: -one[1])[:2]
        assert [(one["label"], one["probability"]) for one in line["top"]] == expected
        assert cells["label_2"] == expected[1][0]


def test_predictions_below_a_threshold_abstain(run: Callable[..., Ended], tmp_path: Path) -> None:
    run("photos", "-o", "all.jsonl")
    found = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    threshold = sorted(row["probability"] for row in found if row["label"])[1]  # the middle one

    run("photos", "-o", "a.csv", "--threshold", threshold)

    rows = {row["label"]: row for row in rows_of(tmp_path / "a.csv")}
    assert [rows[label]["abstain"] for label in ("red", "green", "blue", "")] == ["true", "false", "false", ""]


def test_a_list_on_standard_input(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run("-", "-o", "a.csv", stdin="\0".join([*FILES, "gone.jpg"]).encode())

    rows = rows_of(tmp_path / "a.csv")
    assert [row["file"] for row in rows] == [*FILES, "gone.jpg"]
    assert rows[-1]["error"] == "cannot read gone.jpg: no such file or directory"
    assert ended.errors[0].startswith("2 of 5 images cannot be predicted")


def test_addresses_are_named_like_files(run: Callable[..., Ended], tmp_path: Path) -> None:
    with serve(tmp_path / "photos") as web:
        ended = run(f"{web.address}/c.png", "-", "-o", "a.csv", stdin=f"{web.address}/a%20b.png\nphotos".encode())
        missing = run(f"{web.address}/none.png", "-o", "b.csv")

    assert ended.code == 1
    rows = rows_of(tmp_path / "a.csv")
    assert [row["file"] for row in rows] == [f"{web.address}/c.png", f"{web.address}/a%20b.png", *FILES]
    assert [row["label"] for row in rows] == ["red", "green", *LABELS]
    assert missing.code == 1
    assert "none.png: cannot fetch it: it does not exist" in rows_of(tmp_path / "b.csv")[0]["error"]


def test_files_are_sorted_into_classes_and_put_back(run: Callable[..., Ended], tmp_path: Path) -> None:
    before = sorted(path.name for path in Path("photos").iterdir())

    copied = run("photos", "--copy-to", "copies", "-q")
    assert copied.code == 1
    assert "copied 3 files to copies (" in copied.out
    assert sorted(str(path) for path in Path("copies").rglob("*.*")) == [
        "copies/blue/two\nlines.png",
        "copies/copied.jsonl",
        "copies/green/a b.png",
        "copies/red/c.png",
    ]
    assert sorted(path.name for path in Path("photos").iterdir()) == before

    moved = run("photos", "--move-to", "sorted", "-o", "a.csv", "--threshold", "0.3", "--on-bad-image", "skip")
    assert moved.code == 0
    assert "undo it with: classifier-training predict --undo sorted/moved.jsonl" in moved.out
    assert [path.name for path in Path("photos").iterdir()] == ["broken.jpg"]
    assert len(rows_of(Path("a.csv"))) == 3

    undone = run("--undo", "sorted/moved.jsonl", model="")
    assert (undone.code, undone.errors) == (0, [])
    assert "3 files are where they were before" in undone.out
    assert sorted(path.name for path in Path("photos").iterdir()) == before
    assert not list(Path("sorted").iterdir())

    Path("copies/red/c.png").write_bytes(b"retouched")
    left = run("--undo", "copies/copied.jsonl", model="")
    assert left.code == 1
    assert left.errors == ["1 files are left as they are, and so is copies/copied.jsonl; see the warnings above"]


def test_copies_of_an_earlier_command_are_not_copied_again(run: Callable[..., Ended]) -> None:
    words = ("photos", "--copy-to", "photos/sorted", "--on-bad-image", "skip")

    first, second = run(*words), run(*words)
    assert (first.code, second.code) == (0, 0)
    warning = "3 images in photos/sorted are left out, as they may be copies of an earlier command"
    said = [" ".join(f"{ended.out} {' '.join(ended.errors)}".split()) for ended in (first, second)]
    assert [warning in one for one in said] == [False, True]

    assert sorted(path.name for path in Path("photos/sorted/red").iterdir()) == ["c-2.png", "c.png"]


@pytest.mark.parametrize("mode", ["--copy-to", "--move-to"])
def test_the_rows_of_a_stopped_command_are_not_those_of_another(run: Callable[..., Ended], mode: str) -> None:
    others = make_image(Path("others") / "d.png", np.zeros((9, 9, 3), np.uint8))
    Path("my sorted").mkdir()
    Path("my sorted/red").touch()  # where a folder should be: it stops after the first file
    words = ("--on-bad-image", "skip", mode, "my sorted")

    assert run("photos", *words).errors[-1] == f"cannot read or write {Path('my sorted/red').absolute()}: File exists"
    Path("my sorted/red").unlink()
    refused = run("others", *words)
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert "my sorted/predictions.partial" in refused.errors[0]
    ended = run("photos", *words)

    assert ended.code == 0
    assert "predict --undo 'my sorted/" in " ".join(ended.out.split())
    assert len(list(Path("my sorted").rglob("*.png"))) == 3
    assert others.is_file()


def test_predictions_that_abstain_are_not_sorted(run: Callable[..., Ended]) -> None:
    ended = run("photos", "--copy-to", "copies", "--threshold", "1")

    assert "copied 0 files to copies; 3 stay where they are" in ended.out


def test_features_have_a_row_for_each_row(run: Callable[..., Ended], tmp_path: Path) -> None:
    metadata = DeploymentCard(CLASSES, Preprocessing(image_size=16)).to_metadata()
    make_onnx(Path("features.onnx"), metadata=metadata, has_features=True)

    for name in ("a.npy", "a.parquet"):
        ended = run("photos", "--features", name, "-o", f"{name}.csv", model="features.onnx")
        assert ended.code == 1
        assert f"3 features of each image written to {name}" in ended.out
    run("photos", "--features", "skipped.npy", "--on-bad-image", "skip", "-q", model="features.onnx")

    features, table = np.load("a.npy"), parquet.read_table("a.parquet").to_pylist()
    assert (features.shape, features.dtype) == ((4, 3), np.float32)
    assert np.isnan(features[1]).all()
    assert features[[0, 2, 3]].argmax(axis=1).tolist() == [1, 0, 2]  # mean colours, in the order of the files
    assert [row["file"] for row in table] == FILES
    np.testing.assert_array_equal([row["features"] for row in table], features)
    np.testing.assert_array_equal(np.load("skipped.npy"), features[[0, 2, 3]])
    assert Path("a.npy.csv").read_bytes() == Path("a.parquet.csv").read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_the_decision_of_the_model_is_in_its_rows(run: Callable[..., Ended]) -> None:
    decision = Decision(num_images=9, abstain_threshold=0.5, set_threshold=0.3)
    metadata = DeploymentCard(CLASSES, Preprocessing(image_size=16), decision=decision).to_metadata()
    make_onnx(Path("decided.onnx"), metadata=metadata)

    for name in ("a.csv", "a.jsonl", "a.parquet"):
        run("photos", "-o", name, model="decided.onnx")
    lines = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]

    for line in lines:
        if line["label"] is not None:
            assert line["abstain"] == (line["probability"] < 0.5)
            assert line["prediction_set"] == [name for name, value in line["probabilities"].items() if value >= 0.3]
    assert (lines[1]["abstain"], lines[1]["prediction_set"]) == (None, None)  # a set may be empty
    assert [row["prediction_set"] for row in parquet.read_table("a.parquet").to_pylist()] == [
        line["prediction_set"] for line in lines
    ]
    assert [json.loads(row["prediction_set"] or "null") for row in rows_of(Path("a.csv"))] == [
        line["prediction_set"] for line in lines
    ]
    run("photos", "-o", "b.csv", "--threshold", "1", model="decided.onnx")
    assert [row["abstain"] for row in rows_of(Path("b.csv"))] == ["true", "", "true", "true"]


def test_what_is_unlike_the_training_is_told_and_not_sorted(run: Callable[..., Ended]) -> None:
    unknown = UnknownCard(kind="energy", threshold=0.15, known_share=0.95, num_images=9)
    metadata = DeploymentCard(CLASSES, Preprocessing(image_size=16), unknown=unknown).to_metadata()
    make_onnx(Path("unknown.onnx"), metadata=metadata, has_unknown_score=True)

    for name in ("a.csv", "a.jsonl", "a.parquet"):
        run("photos", "-o", name, model="unknown.onnx")
    moved = run("photos", "--copy-to", "sorted", "--on-bad-image", "skip", model="unknown.onnx")

    lines = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    table = parquet.read_table("a.parquet").to_pylist()
    assert [line["unknown"] for line in lines] == [row["unknown"] for row in table]
    assert [line["unknown_score"] for line in lines] == [row["unknown_score"] for row in table]
    assert {line["unknown"] for line in lines if line["label"]} == {True, False}
    for line, cells in zip(lines, rows_of(Path("a.csv")), strict=True):
        if line["label"] is None:
            assert cells["unknown"] == cells["unknown_score"] == ""
        else:
            assert line["unknown"] == (line["unknown_score"] > 0.15)
            assert cells["unknown"] == str(line["unknown"]).lower()
            assert float(cells["unknown_score"]) == pytest.approx(line["unknown_score"], abs=1e-6)
    num_known = sum(line["unknown"] is False for line in lines)
    assert f"copied {num_known} files to sorted" in moved.out
    run("photos", "-o", "b.csv", "--tta", "flip", model="unknown.onnx")
    assert "unknown" not in rows_of(Path("b.csv"))[0]


def test_a_file_of_another_program_is_described(run: Callable[..., Ended]) -> None:
    make_onnx(Path("foreign.onnx"))
    Path("names.txt").write_text("red\ngreen\nblue\n")
    how = json.dumps(Preprocessing(image_size=16).to_dict())

    refused = run("photos", model="foreign.onnx")
    assert (refused.code, len(refused.errors)) == (2, 1)
    assert "for a file of another program give --labels FILE and --preprocessing JSON" in refused.errors[0]
    run("photos", "-o", "a.csv", "--labels", "names.txt", "--preprocessing", how, model="foreign.onnx")
    run("photos", "-o", "b.csv")

    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()


def test_names_for_spreadsheets(run: Callable[..., Ended], tmp_path: Path) -> None:
    Path("photos/c.png").rename("=1+1.png")
    make_image(Path("@d.png"), np.zeros((20, 30, 3), np.uint8))
    unknown = UnknownCard(kind="energy", threshold=0.15, known_share=0.95, num_images=9)
    metadata = DeploymentCard(CLASSES, Preprocessing(image_size=16), unknown=unknown).to_metadata()
    make_onnx(Path("unknown.onnx"), metadata=metadata, has_unknown_score=True)

    for name, options in (("as-it-is.csv", ()), ("safe.csv", ("--safe-csv",))):
        assert run("=1+1.png", "@d.png", "-o", name, *options, model="unknown.onnx").code == 0

    assert [row["file"] for row in rows_of(tmp_path / "as-it-is.csv")] == ["=1+1.png", "@d.png"]
    assert [row["file"] for row in rows_of(tmp_path / "safe.csv")] == ["'=1+1.png", "'@d.png"]
    scores = [[row["unknown_score"] for row in rows_of(tmp_path / name)] for name in ("as-it-is.csv", "safe.csv")]
    assert scores[0] == scores[1]
    assert any(score.startswith("-") for score in scores[0])  # a number, and no formula


def test_an_output_that_exists_is_replaced_only_if_asked(run: Callable[..., Ended], tmp_path: Path) -> None:
    Path("labels.csv").write_text("precious")

    refused = run("photos", "-o", "labels.csv")
    assert refused.code == 2
    assert refused.errors == [
        "--output labels.csv: the file exists; name another one, or add --overwrite to replace it"
    ]
    assert Path("labels.csv").read_text() == "precious"
    assert run("photos", "-o", "labels.csv", "--overwrite").code == 1
    assert len(rows_of(Path("labels.csv"))) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos", "--top-k", "4"], "--top-k 4: the model has 3 classes; give 1 to that many"),
        (["photos", "--threshold", "1.5"], "--threshold"),
        (["photos", "--format", "parquet"], "--format parquet needs a file here; add --output FILE.parquet"),
        (["photos", "--format", "csv", "--copy-to", "d"], "--format csv needs a file here; add --output FILE.csv"),
        (["photos", "--copy-to", "d", "--move-to", "e"], "--copy-to and --move-to exclude each other"),
        (["photos", "--copy-to", "."], "--copy-to .: all images that were named are in this folder; name another one"),
        (["photos", "-o", "a.parquet", "--features", "./a.parquet"], "--output and --features are both a.parquet"),
        (["photos", "--copy-to", "d", "-o", "d/copied.jsonl"], "--output d/copied.jsonl: the log of what is sorted"),
        (["photos", "--copy-to", "model.onnx"], "--copy-to model.onnx: this is a file; name a folder"),
        (["photos", "--features", "a.txt"], "--features a.txt: allowed are a .npy or a .parquet file"),
        (["photos", "--features", "a.npy"], "model.onnx gives no features: its last layer is not a linear one"),
        (["photos", "--features", "a.npy", "--tta", "flip"], "--features are those of one view; leave out --tta flip"),
        (["photos", "--labels", "none.txt"], "none.txt"),
        (["photos", "--safe-csv"], "--safe-csv is for a CSV file; add --output FILE.csv"),
        (["photos", "--undo", "log.jsonl"], "--undo takes a log and nothing else"),
        (["photos", "-o", "a.txt"], "--output a.txt: allowed are a .csv, a .jsonl or a .parquet file"),
        (["photos", "-o", "photos/c.png/a.csv"], "--output photos/c.png/a.csv: cannot create the folder"),
        (["photos", "-o", "folder.csv"], "--output folder.csv: this is a folder; name a file in it"),
        (["*.gif", "-o", "a.csv"], "no file or folder matches *.gif"),
        (["missing.jpg", "-o", "a.csv"], "no such file or folder: missing.jpg"),
        (["empty", "-o", "a.csv"], "no images in empty"),
        (["empty", "--move-to", "d"], "no images in empty"),
        ([], "missing argument 'IMAGES'; type: classifier-training predict RUN IMAGES"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    run: Callable[..., Ended], tmp_path: Path, words: list[str], message: str
) -> None:
    Path("empty").mkdir()
    Path("folder.csv").mkdir()
    before = sorted(tmp_path.rglob("*"))

    ended = run(*words)

    assert ended.code == 2
    assert len(ended.errors) == 1
    assert message in ended.errors[0]
    assert sorted(tmp_path.rglob("*")) == before


def test_csv_of_this_program_is_csv_to_others(run: Callable[..., Ended]) -> None:
    printed = run("photos", "--format", "csv").out

    assert [row["label"] for row in csv.DictReader(io.StringIO(printed))] == LABELS
