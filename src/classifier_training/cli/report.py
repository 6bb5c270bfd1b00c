"""The commands ``report`` and ``compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write, NAME.html.")]


def report(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder or evaluation folder; default: the last one in runs/.")
    ] = None,
    output: Output = None,
) -> None:
    """Write everything that is known of a run on one page: report.html in its folder."""
    from classifier_training.pages.write import report as write_report
    from classifier_training.run.folder import latest_run

    _say(write_report(run if run is not None else latest_run(Path("runs")).root, output=output))


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Two or more run folders or evaluation folders.", metavar="RUN RUN")
    ],
    output: Output = None,
) -> None:
    """Show runs beside each other on one page, and whether the better one really is: compare.html.

    classifier-training compare runs/first runs/second
    """
    from classifier_training.pages.write import compare_in_words

    _say(*compare_in_words(runs, output=output))


def _say(path: Path, messages: Sequence[str] = ()) -> None:
    from classifier_training.terminal.terminal import Terminal

    terminal = Terminal()
    for message in messages:
        terminal.info(message)
    terminal.result(f"written: {path}")
