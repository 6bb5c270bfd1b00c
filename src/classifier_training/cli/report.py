"""The command ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder or evaluation folder; default: the latest run in runs/.", metavar="[RUN]"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="HTML file; default: report.html in the run.", metavar="FILE"),
    ] = None,
) -> None:
    """Write an HTML page with the scores, curves, mistakes and settings of a run.

    Examples:
      classifier-training report
      classifier-training report runs/shirts -o shirts.html
    """
    from classifier_training.pages.write import report as write_report
    from classifier_training.run.folder import latest_run
    from classifier_training.terminal.terminal import Terminal

    path = write_report(run if run is not None else latest_run(Path("runs")).root, output=output)
    Terminal().result(f"written: {path}")
