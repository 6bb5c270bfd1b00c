from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.run_folders import RunMaker

from classifier_training.errors import RunError
from classifier_training.pages.write import compare, report
from classifier_training.run.folder import RunFolder

SMALL = RunMaker(2, num_images=6, num_pictures=2)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return SMALL.make(tmp_path / "runs" / "first")


@pytest.fixture
def other(tmp_path: Path) -> RunFolder:
    return RunMaker(2, num_images=6, num_pictures=2, seed=1).make(tmp_path / "runs" / "second")


def test_the_page_of_a_run_is_in_its_folder(run: RunFolder) -> None:
    assert report(run.root) == run.report
    assert run.report.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_page_is_written_where_it_is_wanted(run: RunFolder, tmp_path: Path) -> None:
    wanted = tmp_path / "new folder" / "page.HTML"

    assert report(str(run.root), output=wanted) == wanted
    assert wanted.is_file()
    assert not run.report.exists()


def test_an_evaluation_has_a_page_too(tmp_path: Path) -> None:
    folder = SMALL.make_evaluation(tmp_path / "evaluation")

    assert report(folder.root) == folder.root / "report.html"


def test_runs_are_compared_in_the_working_directory(
    run: RunFolder, other: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert compare([run.root, other.root]) == Path("compare.html")
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert "first" in page
    assert "second" in page


@pytest.mark.parametrize("make", [lambda run: report(run, output=run), lambda run: report(run, output="best.ckpt")])
def test_nothing_but_a_page_is_overwritten(run: RunFolder, make: Callable[[Path], Path]) -> None:
    with pytest.raises(RunError, match=r"name a file that ends with \.html"):
        make(run.root)


def test_a_page_that_cannot_be_written_is_an_error(run: RunFolder) -> None:
    with pytest.raises(RunError, match="cannot write the page"):
        report(run.root, output=run.config / "page.html")


@pytest.mark.parametrize("named", [[], ["first"]])
def test_a_comparison_needs_two(run: RunFolder, named: list[str]) -> None:
    with pytest.raises(RunError, match="needs two runs or more, got"):
        compare([run.root.parent / name for name in named])


def test_a_run_is_not_compared_with_itself(run: RunFolder, other: RunFolder) -> None:
    with pytest.raises(RunError, match="first is named twice"):
        compare([other.root, run.root, run.root.parent / "." / "first"])


def test_a_folder_that_is_not_a_run_is_named(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(RunError, match="empty is not a run folder"):
        compare([run.root, tmp_path / "empty"])
    with pytest.raises(RunError, match="no run folder at"):
        report(tmp_path / "absent")
