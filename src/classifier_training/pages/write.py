"""`report` and `compare`: pages made from run folders in any state."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from classifier_training.errors import RunError
from classifier_training.files.atomic import write_text
from classifier_training.pages.read.folder_kind import is_evaluation
from classifier_training.run.folder import RunFolder

COMPARISON = "compare.html"


def report(run: str | os.PathLike[str], *, output: str | os.PathLike[str] | None = None) -> Path:
    """Writes everything that is known about a run, or about an evaluation, on one self-contained page.

    Args:
        run: A run folder, finished or not, or the folder of an evaluation.
        output: The file to write, which ends with ``.html``; None: ``report.html`` in that folder.

    Returns:
        The file.

    Raises:
        RunError: The folder holds neither a run nor an evaluation, or the file cannot be written.

    Example:
        >>> report("runs/shirts")  # doctest: +SKIP
    """
    folder = Path(run)
    is_evaluation(folder)
    path = _page_path(output, RunFolder(folder).report)
    from classifier_training.pages.read.run_data import read_run
    from classifier_training.pages.report import render_report

    return _write(path, render_report(read_run(folder)))


def compare(runs: Sequence[str | os.PathLike[str]], *, output: str | os.PathLike[str] | None = None) -> Path:
    """Writes a page that compares runs, or evaluations, and tests whether the better one really is better.

    `compare_with_conclusions` returns the conclusions, too.

    Args:
        runs: Two folders or more, as of `report`; they may differ in classes and photos, which the page shows.
        output: The file to write, which ends with ``.html``; None: ``compare.html`` in the working directory.

    Returns:
        The file.

    Raises:
        RunError: There are fewer than two, one is named twice, one is neither a run nor an evaluation, or the file
            cannot be written.

    Example:
        >>> compare(["runs/shirts", "runs/shirts-2"])  # doctest: +SKIP
    """
    return compare_with_conclusions(runs, output=output)[0]


def compare_with_conclusions(
    runs: Sequence[str | os.PathLike[str]], *, output: str | os.PathLike[str] | None = None
) -> tuple[Path, list[str]]:
    """As `compare`, with the conclusions on the page: which run is better."""
    folders = [Path(run) for run in runs]
    for folder in folders:
        is_evaluation(folder)
    if len(folders) < 2:
        raise RunError(f"a comparison needs two runs or more, got {len(folders)}; name more run folders")
    resolved = [folder.resolve() for folder in folders]
    for folder in folders:
        if resolved.count(folder.resolve()) > 1:
            raise RunError(f"{folder} is named twice; name each run once")
    path = _page_path(output, Path(COMPARISON))
    from classifier_training.pages.compare.compare import conclusions, render_compare
    from classifier_training.pages.compare.compared_runs import compared_runs
    from classifier_training.pages.read.run_data import read_run

    compared = compared_runs([read_run(folder, with_predictions=True) for folder in folders])
    return _write(path, render_compare(compared)), conclusions(compared)


def _page_path(output: str | os.PathLike[str] | None, default: Path) -> Path:
    """The path of a page; only a page is ever overwritten."""
    if output is None:
        return default
    path = Path(output)
    if path.suffix.lower() not in {".html", ".htm"}:
        raise RunError(f"cannot write a page to {path}: name a file that ends with .html")
    return path


def _write(path: Path, page: str) -> Path:
    try:
        write_text(path, page)
    except OSError as error:
        raise RunError(f"cannot write the page {path}: {error.strerror}; name another file with --output") from None
    return path
