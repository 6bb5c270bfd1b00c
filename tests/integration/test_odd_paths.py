"""Paths that cannot be, and batches that cannot be normalised: one line, exit code 2, nothing written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.helpers.cli import TINY, Trained, WarmProgram

LONG = "x" * 300
DEEP = "/".join(["x" * 100] * 60)  # longer than PATH_MAX


@pytest.mark.parametrize(
    "words",
    [
        ["train", LONG],
        ["train", DEEP],
        ["train", "shapes", f"model.weights={LONG}"],
        ["train", "shapes", f"run.name={LONG}"],
        ["train", "shapes", f"run.dir={LONG}"],
        ["train", "shapes", "--config", LONG],
        ["train", "--resume", LONG],
        ["train", "{a,b}" + LONG],
        ["predict", LONG, "photo.png"],
        ["predict", "RUN", LONG],
        ["predict", "RUN", "shapes", "--output", f"{LONG}.csv"],
        ["evaluate", LONG],
        ["evaluate", f"{LONG}.onnx"],
        ["evaluate", "RUN", LONG],
        ["evaluate", "RUN", "shapes", "--output", LONG],
        ["evaluate", "RUN", "--not-worse-than", LONG],
        ["export", LONG],
        ["report", LONG],
        ["report", "RUN", "--output", f"{LONG}.html"],
        ["compare", LONG, "RUN"],
        ["prepare", LONG, "--to", "packed"],
        ["prepare", "shapes", "--to", LONG],
        ["config", "show", "--config", LONG],
        ["demo", "--folder", LONG],
    ],
    ids=lambda words: " ".join(words).replace(LONG, "LONG").replace(DEEP, "DEEP"),
)
def test_a_path_that_is_too_long_is_one_line(
    program: WarmProgram, trained: Trained, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "shapes").symlink_to(trained.photos)
    before = set(trained.run.root.rglob("*"))
    words = [str(trained.run.root) if word == "RUN" else word for word in words]
    settings = TINY if words[0] == "train" and "--resume" not in words else ()

    finished = program(*words, *settings, folder=tmp_path)

    assert finished.code == 2, finished
    (line,) = finished.err.splitlines()
    assert line.startswith("error: ")
    assert {path.name for path in tmp_path.iterdir()} <= {"shapes", "runs"}
    assert set(trained.run.root.rglob("*")) == before


def test_weights_by_class_may_be_longer_than_a_file_name(program: WarmProgram, photos: Path, tmp_path: Path) -> None:
    weights = ", ".join([f"{name}: 1" for name in ("blue", "green", "red")] + [f"{'y' * 40}{n}: 1" for n in range(9)])

    finished = program("train", photos, *TINY, f"data.class_weights={{{weights}}}", "--dry-run", folder=tmp_path)

    assert finished.code == 2, finished
    assert "Traceback" not in finished.err
    assert "data.class_weights" in finished.err


@pytest.mark.parametrize("key", ["data.root", "run.dir", "run.name", "data.cache_dir", "model.weights"])
def test_a_nul_character_in_a_path_is_one_line(program: WarmProgram, photos: Path, tmp_path: Path, key: str) -> None:
    section, name = key.split(".")
    (tmp_path / "c.yaml").write_text(f'{section}: {{{name}: "a\\0b"}}\n')
    words = [] if key == "data.root" else [photos]

    finished = program("train", *words, *TINY, "--config", "c.yaml", folder=tmp_path)

    assert finished.code == 2, finished
    (line,) = finished.err.splitlines()
    assert line.startswith("error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_one_line(program: WarmProgram, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)

    finished = program("train", tmp_path / "locked" / "photos", *TINY, folder=tmp_path)

    assert finished.code == 2, finished
    (line,) = finished.err.splitlines()
    assert "Permission denied" in line


def test_links_that_lead_to_themselves_are_one_line(program: WarmProgram, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    for words in (["train", "loop", *TINY], ["predict", str(trained.run.root), "loop"], ["evaluate", "loop"]):
        finished = program(*words, folder=tmp_path)
        assert finished.code == 2, finished
        (line,) = finished.err.splitlines()
        assert "loop" in line


def test_a_batch_of_one_image_is_refused_where_batchnorm_cannot_be_trained(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    words: list[str | Path] = ["train", photos, *TINY, "model.name=resnet10t", "data.batch_size=1"]

    finished = program(*words, folder=tmp_path)

    assert finished.code == 2, finished
    assert finished.err == (
        "error: data.batch_size=1: resnet10t has BatchNorm, which cannot be trained on one image at a time; set"
        " data.batch_size=2 or more, or keep the statistics with model.freeze_norm_stats=true\n"
    )
    assert not list(tmp_path.iterdir())
    assert program(*words, "model.freeze_norm_stats=true", "--dry-run", folder=tmp_path).code == 0
    poor = program(*words, "data.image_size=64", "--dry-run", folder=tmp_path)
    assert poor.code == 0, poor
    assert "warning: data.batch_size=1: BatchNorm takes its statistics from one image" in poor.out
