"""`report` and `compare` as commands, on what people really point them at."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.cli import SOURCE, Trained, WarmProgram
from tests.helpers.run_folders import HOSTILE_FILES, HOSTILE_NAMES, RunMaker, edit_json

from classifier_training.run.folder import RunFolder

SMALL = RunMaker(3, num_images=12, num_pictures=4)


def lose_half(run: RunFolder) -> None:
    """As after a copy that was broken off."""
    for path in (run.scored("test").scores, run.metrics, run.statistics):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    run.onnx.unlink()


def lose_images(run: RunFolder) -> None:
    shutil.rmtree(run.scored("test").thumbnails)


def be_of_another_version(run: RunFolder) -> None:
    for path in (run.scored("test").scores, run.scored("val").scores, run.statistics, run.model_info):
        edit_json(path, format=2)


def stay(run: RunFolder) -> None:
    """Nothing is wrong with it."""


KINDS: dict[str, tuple[RunMaker, Callable[[RunFolder], None], str]] = {
    "incomplete": (SMALL, lose_half, "test/scores.json is not valid JSON"),
    "running": (RunMaker(3, num_images=12, num_epochs=1, is_finished=False), stay, ""),
    "another version": (SMALL, be_of_another_version, "is of format 2, and this version reads format 1"),
    "hostile": (RunMaker(HOSTILE_NAMES, files=HOSTILE_FILES), stay, ""),
    "images gone": (SMALL, lose_images, "4 of the 4 images that test/pictures.json names are gone"),
    "two classes": (RunMaker(2, num_images=12), stay, ""),
    "one image": (RunMaker(3, num_images=1), stay, ""),
    "absent class": (RunMaker(3, num_images=12, absent=[1]), stay, ""),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_made_from_a_run_in_any_state(program: WarmProgram, tmp_path: Path, kind: str) -> None:
    maker, spoil, told = KINDS[kind]
    run = maker.make(tmp_path / "runs" / "odd")
    spoil(run)
    SMALL.make(tmp_path / "runs" / "whole")

    reported = program("report", "runs/odd", folder=tmp_path)
    compared = program("compare", "runs/odd", "runs/whole", folder=tmp_path)

    assert (reported.code, reported.out, reported.err) == (0, f"written: {Path('runs/odd/report.html')}\n", "")
    assert (compared.code, compared.out.splitlines()[-1], compared.err) == (0, "written: compare.html", "")
    for page in (run.report, tmp_path / "compare.html"):
        text = page.read_text(encoding="utf-8")
        assert told in text.replace("&#39;", "'")
        assert "<script>window.hacked" not in text
        assert "<img src=x" not in text


def test_a_real_run_has_a_page(program: WarmProgram, trained: Trained, tmp_path: Path) -> None:
    page = tmp_path / "page.html"

    finished = program("report", trained.run.root, "--output", page)

    assert finished.code == 0, finished
    top1 = json.loads(trained.run.results.read_text(encoding="utf-8"))["test"]["top1"]
    assert f"{100 * top1:.1f}" in page.read_text(encoding="utf-8")


def test_the_last_run_is_reported_when_none_is_named(program: WarmProgram, tmp_path: Path) -> None:
    first, second = (SMALL.make(tmp_path / "runs" / name) for name in ("first", "second"))
    os.utime(first.config, (1, 1))

    finished = program("report", folder=tmp_path)

    assert finished.code == 0, finished
    assert second.report.is_file()
    assert not first.report.exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["report"], "no run in runs; name the run folder"),
        (["report", "absent"], "no run folder at absent"),
        (["report", "empty"], "empty is not a run folder: it has no config.yaml"),
        (["report", "file"], "no run folder at file"),
        (["report", "x" * 300], "run folder"),
        (["report", "run", "-o", "run"], "name a file that ends with .html"),
        (["compare", "run"], "a comparison needs two runs or more, got 1"),
        (["compare", "run", "run"], "run is named twice"),
        (["compare", "run", "empty"], "empty is not a run folder: it has no config.yaml"),
        (["compare"], "missing argument"),
    ],
)
def test_a_mistake_is_one_line(program: WarmProgram, tmp_path: Path, words: list[str], told: str) -> None:
    SMALL.make(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")

    finished = program(*words, folder=tmp_path)

    assert finished.code == 2, finished
    assert finished.out == ""
    assert told in finished.err
    assert len(finished.err.splitlines()) == 1
    assert not list(tmp_path.glob("*.html"))


def test_a_page_is_made_without_torch(tmp_path: Path) -> None:
    runs = [RunMaker(3, num_images=12, seed=seed).make(tmp_path / f"run {seed}").root for seed in (0, 1)]
    script = """
import sys
from classifier_training import compare, report
report(sys.argv[1])
compare(sys.argv[1:])
print(*sorted({"torch", "lightning", "timm", "matplotlib"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", script, *map(str, runs)]
    finished = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(SOURCE)}
    )

    assert finished.stdout == "\n"
    assert (tmp_path / "compare.html").is_file()
