from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from classifier_training.errors import RunError
from classifier_training.files.atomic import write_text
from classifier_training.run.folder import (
    RunFolder,
    check_run_name,
    create_run,
    latest_run,
    open_run,
)


def make_run(parent: Path, name: str, age_seconds: int = 0) -> RunFolder:
    run = create_run(parent, name, "resnet18")
    run.config.write_text("seed: 0\n")
    os.utime(run.config, (1_000_000 - age_seconds, 1_000_000 - age_seconds))
    return run


# -- a new run ---------------------------------------------------------------------------------------------------


def test_a_made_up_name_has_date_time_and_model(tmp_path: Path) -> None:
    run = create_run(tmp_path / "deep" / "runs", None, "resnet18")

    assert run.root.is_dir()
    assert run.root.parent == tmp_path / "deep" / "runs"
    assert re.fullmatch(r"\d{8}-\d{6}-resnet18", run.root.name)
    assert list(run.root.iterdir()) == []


def test_the_models_name_is_made_a_plain_folder_name(tmp_path: Path) -> None:
    run = create_run(tmp_path, None, "hf-hub:timm/vit small\n.x")

    assert run.root.name.endswith("-hf-hub-timm-vit-small-.x")
    assert run.root.parent == tmp_path


def test_made_up_names_never_collide(tmp_path: Path) -> None:
    runs = [create_run(tmp_path, None, "resnet18") for _ in range(5)]

    assert len({run.root for run in runs}) == 5


@pytest.mark.parametrize("name", ["shirts", "1e3", "no", "Ünï 日本語", "a.b", "-x"])
def test_a_given_name_is_kept_and_never_overwritten(tmp_path: Path, name: str) -> None:
    run = create_run(tmp_path, name, "resnet18")
    (run.root / "mine").write_text("kept")
    assert run.root == tmp_path / name

    with pytest.raises(RunError, match=rf"run folder {run.root} exists already and is never overwritten") as caught:
        create_run(tmp_path, name, "resnet18")

    assert f"train --resume {run.root}" in str(caught.value)
    assert (run.root / "mine").read_text() == "kept"


def test_a_given_name_may_be_numbered_if_allowed(tmp_path: Path) -> None:
    names = [create_run(tmp_path, "a", "m", may_rename=True).root.name for _ in range(3)]

    assert names == ["a", "a-2", "a-3"]


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "../x", "/abs", "a\\b", "nul\0"])
def test_a_name_that_is_no_plain_folder_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match=r"^run\.name=.* is not a plain folder name; .* run\.dir$"):
        create_run(tmp_path / "runs", name, "resnet18")

    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", [None, "a"])
@pytest.mark.parametrize("kind", ["file", "dangling", "loop", "below a file"])
def test_a_parent_that_is_no_folder(tmp_path: Path, kind: str, name: str | None) -> None:
    parent = tmp_path / "runs"
    if kind == "dangling":
        parent.symlink_to(tmp_path / "nowhere")
    elif kind == "loop":
        parent.symlink_to(parent)
    else:
        parent.write_text("a file")
        parent = parent / "runs" if kind == "below a file" else parent

    with pytest.raises(RunError, match=rf"^cannot create the folder {parent}: .*; choose another run\.dir$"):
        create_run(parent, name, "resnet18")


def test_a_name_that_the_file_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"File name too long; choose another run\.dir or run\.name$"):
        create_run(tmp_path, "x" * 300, "resnet18")


def test_a_name_can_be_checked_before_anything_is_made(tmp_path: Path) -> None:
    create_run(tmp_path, "taken", "resnet18")

    check_run_name(tmp_path, None)
    check_run_name(tmp_path, "free")
    check_run_name(tmp_path / "nowhere", "taken")
    check_run_name(tmp_path, "taken", may_rename=True)
    with pytest.raises(RunError, match="exists already and is never overwritten"):
        check_run_name(tmp_path, "taken")
    with pytest.raises(RunError, match="is not a plain folder name"):
        check_run_name(tmp_path, "../taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


# -- an existing run ---------------------------------------------------------------------------------------------


def test_opening_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a")

    assert open_run(run.root) == run
    with pytest.raises(RunError, match=rf"^no run folder at {tmp_path / 'b'}$"):
        open_run(tmp_path / "b")
    with pytest.raises(RunError, match=rf"^{tmp_path} is not a run folder: it has no config\.yaml$"):
        open_run(tmp_path)


def test_the_latest_run_is_the_one_that_was_started_last(tmp_path: Path) -> None:
    make_run(tmp_path, "b", age_seconds=50)
    newest = make_run(tmp_path, "a", age_seconds=10)
    make_run(tmp_path, "c", age_seconds=90)
    create_run(tmp_path, "no config yet", "resnet18")

    assert latest_run(tmp_path) == newest


@pytest.mark.parametrize("folder", ["", "nothing"])
def test_no_latest_run(tmp_path: Path, folder: str) -> None:
    with pytest.raises(RunError, match=r"^no run in .*; name the run folder$"):
        latest_run(tmp_path / folder)


def test_the_layout_is_what_the_manual_says(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "r")
    paths = [
        *(run.config, run.environment, run.split, run.metrics, run.timings, run.results, run.log),
        *(run.best_checkpoint, run.last_checkpoint, run.onnx, run.labels_mapping, run.verification),
    ]

    assert [path.relative_to(run.root).as_posix() for path in paths] == [
        *("config.yaml", "environment.json", "data/split.csv", "metrics.csv", "timings.csv", "results.json"),
        "train.log",
        *("checkpoints/best.ckpt", "checkpoints/last.ckpt"),
        *("export/model.onnx", "export/labels_mapping.json", "export/verification.json"),
    ]
    assert not run.root.exists()


def test_written_files_are_the_finished_ones(tmp_path: Path) -> None:
    run = make_run(tmp_path, "a")
    write_text(run.split, "x")
    (run.root / "data" / ".split.csv.abc.tmp").write_text("half")

    assert run.written_files() == [run.config, run.split]
