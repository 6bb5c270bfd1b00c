from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.run_folders import HOSTILE_FILES, HOSTILE_NAMES, RunMaker, edit_json

from classifier_training.errors import RunError
from classifier_training.pages.compare.compare import render_compare
from classifier_training.pages.compare.compared_runs import compared_runs
from classifier_training.pages.read.run_data import read_run
from classifier_training.pages.report import render_report
from classifier_training.run.folder import RunFolder

SMALL = RunMaker(3, num_images=12, num_pictures=3)
DATA_FILES = (
    "config.yaml",
    "environment.json",
    "metrics.csv",
    "timings.csv",
    "results.json",
    "model_info.json",
    "data/statistics.json",
    "data/sampler_distribution.csv",
    "export/verification.json",
    "test/scores.json",
    "test/confusion_matrix.csv",
    "test/pictures.json",
    "test/predictions.csv",
    "val/scores.json",
)
DAMAGED = {
    "half of it": None,
    "empty": b"",
    "binary": bytes(range(256)),
    "a list": b"[]",
    "a deep list": b"[" * 100_000,
    "a huge number": b"1" * 10_000,
    "another version": b'{"format": 2}',
    "text": b"hello: [",
}
WRONG: tuple[Any, ...] = (None, True, -1, 1.5, 10**400, "text", [None], {"a": [1]}, "\ud800")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return SMALL.make(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture
def run(made: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(made.root, tmp_path / "small")))


def is_verified(run: RunFolder) -> bool:
    file = read_run(run.root).onnx
    assert file is not None
    return file.is_verified


def pages_of(run: RunFolder) -> tuple[str, ...]:
    """Makes both pages; returns what they say is missing."""
    data = read_run(run.root, with_predictions=True)
    render_report(data).encode()
    render_compare(compared_runs([data, data])).encode()
    return data.missing


def test_a_finished_run_is_read_as_it_was_written(made: RunFolder) -> None:
    data = read_run(made.root, with_predictions=True)

    assert data.missing == ()
    assert (data.status, data.name, data.classes) == ("finished", "small", ("class 0", "class 1", "class 2"))
    assert (data.num_epochs, data.max_epochs, data.best_epoch, data.monitor) == (3, 3, 2, "val/top1")
    assert data.best_score == data.metrics.columns["val/top1"][2]
    assert data.seconds == 12 + 13 + 14
    assert data.timings.columns["images_per_second"] == (250.0, 249.0, 248.0)
    assert data.final is not None
    expected = SMALL.score("test")
    assert data.final.split == "test"
    assert data.final.top1 == expected.scores.top1
    assert np.array_equal(data.final.confusion.matrix(), expected.scores.confusion)  # type: ignore[union-attr]  # it is there
    assert data.final.predictions is not None
    assert data.final.predictions.files == expected.files
    assert np.array_equal(data.final.predictions.predicted, expected.predictions.predicted)
    assert [image.thumbnail is not None for image in data.final.images] == [True] * 3
    assert data.validation is not None
    assert data.validation.split == "val"
    assert data.onnx is not None
    assert data.onnx.is_verified
    assert data.model_info is not None
    assert data.model_info.latency is not None
    assert data.statistics is not None
    assert data.statistics.counts["train"] == (40, 47, 54)
    assert data.sampler is not None
    assert data.sampler.sampled.tolist() == [[40, 47, 54], [41, 48, 55], [42, 49, 56]]
    assert data.train_batch == made.train_batch


def test_predictions_are_read_when_they_are_asked_for(made: RunFolder) -> None:
    data = read_run(made.root)

    assert data.final is not None
    assert data.final.predictions is None
    assert data.missing == ()


def test_a_run_in_training_has_progress_and_no_final_score(tmp_path: Path) -> None:
    maker = RunMaker(3, num_images=12, num_epochs=2, is_finished=False)

    data = read_run(maker.make(tmp_path / "run").root)

    assert (data.status, data.num_epochs, data.max_epochs) == ("training", 2, 3)
    assert data.final is None
    assert data.validation is not None
    assert (data.best_epoch, data.onnx, data.missing) == (1, None, ())
    assert "--resume" in data.commands["resume"]


def test_a_run_that_was_resumed_after_its_end_is_in_training_again(run: RunFolder) -> None:
    edit_json(run.results, epochs=2)

    data = read_run(run.root)

    assert (data.status, data.final) == ("training", None)


def test_scores_of_another_epoch_than_the_results_are_not_taken_for_theirs(run: RunFolder) -> None:
    edit_json(run.scored("test").scores, epoch=0)

    data = read_run(run.root)

    assert data.final is not None
    assert (data.final.epoch, data.final.images, data.final.coverage) == (2, (), ())
    assert [sentence.partition(" ")[0] for sentence in data.missing] == ["test/scores.json"]


def test_the_time_of_a_resumed_training_is_that_of_all_its_epochs(run: RunFolder) -> None:
    edit_json(run.results, seconds=5.0)

    assert read_run(run.root).seconds == 12 + 13 + 14


def test_without_a_test_split_the_final_score_is_that_of_the_validation(tmp_path: Path) -> None:
    data = read_run(RunMaker(2, has_test=False).make(tmp_path / "run").root, with_predictions=True)

    assert data.final is data.validation
    assert data.final is not None
    assert data.final.predictions is not None


def test_a_run_of_an_older_version_has_the_scores_of_its_results(run: RunFolder) -> None:
    for folder in ("val", "test", "data", "plots"):
        shutil.rmtree(run.root / folder)
    run.model_info.unlink()

    data = read_run(run.root, with_predictions=True)

    expected = SMALL.score("test").scores
    assert data.final is not None
    assert (data.final.split, data.final.top1, data.final.intervals["top1"]) == ("test", expected.top1, None)
    assert np.array_equal(data.final.confusion.matrix(), expected.confusion)  # type: ignore[union-attr]  # it is there
    assert [sentence.partition(" ")[0] for sentence in data.missing] == [
        "val/scores.json",
        "test/scores.json",
        "data/statistics.json",
        "data/sampler_distribution.csv",
        "model_info.json",
    ]
    assert pages_of(run)


def test_an_evaluation_is_read_from_its_own_folder(tmp_path: Path) -> None:
    folder = SMALL.make_evaluation(tmp_path / "evaluation")

    data = read_run(folder.root, with_predictions=True)

    assert (data.status, data.missing, data.num_epochs) == ("evaluation", (), 0)
    assert data.final is not None
    assert data.final.description == "/photos/new"
    assert data.final.predictions is not None
    assert len(data.final.predictions.labels) == 12


def test_a_damaged_evaluation_gives_a_page_without_scores(tmp_path: Path) -> None:
    folder = SMALL.make_evaluation(tmp_path / "evaluation")
    folder.scores.write_text("{", encoding="utf-8")

    data = read_run(folder.root)

    assert data.final is None
    assert "scores.json is not valid JSON" in data.missing[0]
    assert "scores.json" in render_report(data)


@pytest.mark.parametrize("name", DATA_FILES)
def test_a_damaged_file_is_one_sentence_and_costs_nothing_else(run: RunFolder, name: str) -> None:
    path = run.root / name
    whole = path.read_bytes()
    for what, content in DAMAGED.items():
        path.write_bytes(whole[: len(whole) // 2 + 1] if content is None else content)
        missing = pages_of(run)
        named = [sentence for sentence in missing if sentence.startswith(name)]
        if what not in {"half of it", "another version"}:  # half a list of settings is one, too
            assert named, what
        assert len(named) <= 1
        assert all(len(sentence) < 250 for sentence in missing)


@pytest.mark.parametrize("name", [name for name in DATA_FILES if name != "config.yaml"])
def test_a_missing_file_never_fails(run: RunFolder, name: str) -> None:
    (run.root / name).unlink()

    missing = pages_of(run)

    assert missing or name in {"timings.csv", "results.json"}


@pytest.mark.parametrize("name", [name for name in DATA_FILES if name.endswith(".json")])
def test_a_value_of_the_wrong_type_never_fails(run: RunFolder, name: str) -> None:
    path = run.root / name
    values = json.loads(path.read_bytes())
    for number, changed in enumerate(changed_values(values)):
        wrong = WRONG[number % len(WRONG)]
        path.write_text(json.dumps(changed(wrong)), encoding="utf-8")
        if not read_run(run.root, with_predictions=True).missing:  # otherwise it is as if the file were not there
            pages_of(run)


@pytest.mark.parametrize("wrong", ["x", "-1", "", "1e400", "nan", "99999999999999999999999"])
@pytest.mark.parametrize("name", [name for name in DATA_FILES if name.endswith(".csv")])
def test_a_cell_of_the_wrong_type_never_fails(run: RunFolder, name: str, wrong: str) -> None:
    path = run.root / name
    header, first, *rest = path.read_text(encoding="utf-8").splitlines()
    for column in range(len(first.split(","))):
        cells = first.split(",")
        cells[column] = wrong
        path.write_text("\n".join([header, ",".join(cells), *rest]) + "\n", encoding="utf-8")
        if not read_run(run.root, with_predictions=True).missing:
            pages_of(run)


@pytest.mark.parametrize(
    "text",
    ["model: resnet18", "data: [1]", "- 1", "a: &a [1]\nb: *a", "a: 2024-99-99", "? [1]\n: 2", "a: !!python/x 1"],
)
def test_settings_that_are_none_are_left_out(run: RunFolder, text: str) -> None:
    run.config.write_text(text, encoding="utf-8")

    missing = pages_of(run)

    assert missing[0].startswith("config.yaml")
    assert read_run(run.root).config == {}


def test_a_changed_export_is_not_verified(run: RunFolder) -> None:
    run.onnx.write_bytes(b"another file")

    data = read_run(run.root)

    assert data.onnx is not None
    assert not data.onnx.is_verified


def test_an_export_of_the_weights_before_a_resume_is_not_verified(run: RunFolder) -> None:
    edit_json(run.verification, epoch=2)
    of_best = read_run(run.root).onnx
    edit_json(run.verification, epoch=1)
    of_others = read_run(run.root).onnx

    assert of_best is not None
    assert of_others is not None
    assert (of_best.is_verified, of_others.is_verified) == (True, False)


def test_only_the_very_file_that_was_compared_is_verified(run: RunFolder) -> None:
    file = read_run(run.root).onnx

    assert file is not None
    assert file.is_verified
    assert file.sha256 == hashlib.sha256(run.onnx.read_bytes()).hexdigest()
    assert file.size == run.onnx.stat().st_size
    run.verification.unlink()
    assert not is_verified(run)


@pytest.mark.parametrize("changes", [{"passed": False}, {"sha256": None}, {"sha256": "0" * 64}, {"epoch": 1}])
def test_a_comparison_that_failed_or_is_of_another_file_or_epoch_proves_nothing(
    run: RunFolder, changes: dict[str, object]
) -> None:
    edit_json(run.verification, **changes)

    assert not is_verified(run)


def test_an_exported_file_is_not_verified_while_the_run_is_trained(run: RunFolder) -> None:
    run.results.unlink()

    assert not is_verified(run)


def test_an_export_that_failed_says_why(run: RunFolder) -> None:
    run.onnx.unlink()
    run.verification.write_text('{"passed": false, "exporter": "dynamo", "reason": "no such <operator>."}')

    assert "no such &lt;operator&gt;." in render_report(read_run(run.root))


def test_hostile_names_can_be_read_and_written(tmp_path: Path) -> None:
    run = RunMaker(HOSTILE_NAMES, files=HOSTILE_FILES).make(tmp_path / "run")

    data = read_run(run.root, with_predictions=True)

    assert data.missing == ()
    assert data.classes == HOSTILE_NAMES
    assert pages_of(run) == ()


def test_a_class_without_images_has_no_scores(tmp_path: Path) -> None:
    run = RunMaker(4, absent=[1]).make(tmp_path / "run")

    data = read_run(run.root)

    assert data.final is not None
    assert (data.final.per_class[1].recall, data.final.per_class[1].recall_interval) == (None, None)
    assert pages_of(run) == ()


def test_two_classes_and_one_image_are_enough(tmp_path: Path) -> None:
    assert pages_of(RunMaker(2, num_images=1).make(tmp_path / "run")) == ()


@pytest.mark.parametrize("name", ["a run; rm -rf ~", "it's", "$(x)", "line\nbreak", "\udcff"])
def test_commands_mean_the_folder_that_they_are_of(run: RunFolder, name: str) -> None:
    root = run.root.rename(run.root.parent / name)

    data = read_run(root)

    finished = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {data.commands['repeat']}"], capture_output=True, check=True
    )
    words = finished.stdout.split(b"\0")[:-1]
    assert words[-1] == bytes(root.resolve() / "config.yaml")
    assert words[:3] == [b"classifier-training", b"train", b"--config"]
    assert render_report(data).encode()


def test_plain_commands_are_plain(made: RunFolder) -> None:
    root = made.root.resolve()

    assert read_run(made.root).commands == {
        "repeat": shlex.join(["classifier-training", "train", "--config", str(root / "config.yaml")]),
        "evaluate": shlex.join(["classifier-training", "evaluate", str(root)]),
        "predict": shlex.join(["classifier-training", "predict", str(root / "export/model.onnx"), "PHOTOS"]),
    }


@pytest.mark.parametrize("kind", ["nothing", "a file", "an empty folder", "a long name"])
def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("x" * 300 if kind == "a long name" else "place")
    if kind == "a file":
        path.write_text("")
    elif kind == "an empty folder":
        path.mkdir()

    with pytest.raises(RunError, match="run folder"):
        read_run(path)


def changed_values(values: Any) -> Iterator[Any]:
    """For each value within a JSON value, of lists the first: a function that gives the whole with it replaced."""

    def changed(path: tuple[Any, ...]) -> Any:
        def change(wrong: Any) -> Any:
            copy = json.loads(json.dumps(values))
            inner = copy
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = wrong
            return copy

        return change

    for path in paths_in(values):
        yield changed(path)


def paths_in(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    keys = list(values) if isinstance(values, dict) else [0] if isinstance(values, list) and values else []
    for key in keys:
        yield from paths_in(values[key], (*path, key))
