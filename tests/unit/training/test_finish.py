"""What is left to do of a run; that it is scored and exported is tested in `tests/integration`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier_training.config.schema import Config
from classifier_training.files.atomic import write_json, write_text
from classifier_training.metrics.intervals import score_intervals
from classifier_training.metrics.scores import scores_from_confusion
from classifier_training.run.folder import RunFolder, ScoredFolder
from classifier_training.run.tree import entries_of
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.finish import finished_result, show_files

CONFUSION = np.array([[3, 1, 0], [0, 5, 0], [2, 0, 1]])
EXPORTED = {"passed": True, "exporter": "torchscript", "opset_version": 18, "tolerance": 1e-3, "num_images": 32}


def make_finished(root: Path, split: str = "test", **changed: Any) -> RunFolder:
    run = RunFolder(root)
    for path in (run.best_checkpoint, run.onnx, run.labels_mapping, run.verification):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    results = {
        "monitor": "val/top1",
        "best": {"epoch": 4, "val/top1": 0.75},
        split: scores_from_confusion(CONFUSION, 12).to_dict(["a", "b", "c"]),
        "epochs": 9,
        "seconds": 61.5,
        "export": EXPORTED,
    }
    write_json(run.results, results | changed)
    return run


def finished(run: RunFolder, num_epochs: int = 9, best_epoch: int = 4, **export: Any) -> Any:
    config = Config.model_validate({"export": export})
    return finished_result(run, config, num_epochs=num_epochs, best_epoch=best_epoch)


@pytest.mark.parametrize("split", ["test", "val"])
def test_the_result_is_read_again(tmp_path: Path, split: str) -> None:
    run = make_finished(tmp_path, split)
    result = finished(run)
    assert (result.run, result.best_checkpoint, result.onnx) == (tmp_path, run.best_checkpoint, run.onnx)
    assert (result.best_epoch, result.best_score, result.split) == (4, 0.75, split)
    expected = json.loads(run.results.read_text())[split]
    assert result.test.to_dict(["a", "b", "c"]) == expected
    assert result.intervals == score_intervals(result.test)


def test_a_damaged_file_is_written_again(tmp_path: Path) -> None:
    run = make_finished(tmp_path)
    run.results.write_text('{"monitor": "val/top1"')
    assert finished(run) is None


def test_without_an_export_none_is_needed(tmp_path: Path) -> None:
    run = make_finished(tmp_path, export=None)
    run.onnx.unlink()
    assert finished(run) is None
    assert finished(run, enabled=False).onnx is None


@pytest.mark.parametrize("name", ["results", "best_checkpoint", "onnx", "labels_mapping", "verification"])
def test_something_is_missing(tmp_path: Path, name: str) -> None:
    run = make_finished(tmp_path)
    path: Path = getattr(run, name)
    path.unlink()
    assert finished(run) is None


@pytest.mark.parametrize(
    "asked",
    [{"num_epochs": 10}, {"best_epoch": 8}, {"opset_version": 17}, {"tolerance": 0.1}, {"exporter": "dynamo"}],
    ids=lambda asked: next(iter(asked)),
)
def test_the_result_is_of_something_else(tmp_path: Path, asked: dict[str, Any]) -> None:
    assert finished(make_finished(tmp_path), **asked) is None


def test_every_file_of_a_run_has_a_meaning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder(tmp_path)
    files = [run.root / entry.path for entry in entries_of(RunFolder)]
    for split in ("val", "test"):
        files.extend(run.scored(split).root / entry.path for entry in entries_of(ScoredFolder))
    for path in files:
        if path.suffix:
            write_text(path, "")
        else:
            for name in ("0.jpg", "1/2.jpg"):
                write_text(path / name, "")
    for folder in (run.checkpoints, run.data, run.export, run.plots):  # their files have a meaning each
        for name in ("0.jpg", "1/2.jpg"):
            (folder / name).unlink()

    show_files(run, Terminal())

    rows = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    shown = {name.strip(): meaning.strip() for name, meaning in rows}
    assert all(shown.values()), shown
    names = {f"{path.relative_to(tmp_path).as_posix()}{'' if path.suffix else '/'}" for path in files}
    assert shown.keys() == names - {"checkpoints/", "data/", "export/", "plots/"}
