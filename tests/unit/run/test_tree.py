"""The table of the run folder makes its documentation and the meanings of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.run.folder import Entry, ExportFolder, RunFolder, ScoredFolder
from classifier_training.run.tree import describe_file, entries_of, render_tree

PAGE = Path(__file__).parents[3] / "docs" / "run-folder.md"


def test_the_page_of_the_documentation_has_the_tree_of_today() -> None:
    text = PAGE.read_text(encoding="utf-8")
    _, _, rest = text.partition(
        "<!-- the tree is rendered by classifier_training.run.tree.render_tree -->\n\n```text\n"
    )
    tree, _, _ = rest.partition("\n```\n\n<!-- end of the tree -->")

    assert tree == render_tree(), f"{PAGE} is stale: put what render_tree() returns between its two comments"


def test_an_entry_is_a_path_of_a_folder_and_a_row_of_its_class(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).metrics == tmp_path / "metrics.csv"
    assert RunFolder(tmp_path).tensorboard == tmp_path / "tensorboard"
    assert isinstance(RunFolder.metrics, Entry)
    assert RunFolder.metrics.path == "metrics.csv"
    assert entries_of(ScoredFolder)[0] is ScoredFolder.scores
    assert not list(tmp_path.iterdir())


def test_the_export_folder_has_the_paths_that_a_run_has(tmp_path: Path) -> None:
    run, export = RunFolder(tmp_path), ExportFolder(tmp_path / "export")

    assert export.root == run.export
    for name in ("onnx", "labels_mapping", "verification"):
        assert getattr(export, name) == getattr(run, name)
    assert run.exported("onnx") == export.model("onnx") == run.onnx
    assert run.exported("int8.onnx") == run.export / "model.int8.onnx"
    assert export.verification_of("onnx") == run.verification
    assert export.verification_of("int8.onnx") == run.export / "verification.int8.onnx.json"


@pytest.mark.parametrize(
    ("name", "line", "meaning"),
    [
        ("metrics.csv", "metrics.csv", RunFolder.metrics.meaning),
        ("checkpoints/last-2.ckpt", "checkpoints/last-2.ckpt", RunFolder.earlier_checkpoints.meaning),
        ("test/scores.json", "test/scores.json", ScoredFolder.scores.meaning),
        ("val/pictures/0/1.jpg", "val/pictures/", ScoredFolder.thumbnails.meaning),
        ("evaluations/photos/scores.json", "evaluations/", RunFolder.evaluations.meaning),
        ("tensorboard/events", "tensorboard/", RunFolder.tensorboard.meaning),
        ("export/model.other", "export/model.other", RunFolder.export.meaning),
        ("test/mine.txt", "test/mine.txt", "scores and predictions: val of the latest epoch, test of best.ckpt"),
        ("mine.txt", "mine.txt", ""),
    ],
)
def test_the_meaning_of_a_file(name: str, line: str, meaning: str) -> None:
    assert describe_file(name) == (line, meaning)
