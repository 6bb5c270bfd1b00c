"""The command ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Two or more run folders or evaluation folders.", metavar="RUN RUN...")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file; default: compare.html.", metavar="FILE")
    ] = None,
) -> None:
    """Compare runs on one HTML page, and test whether the better one is better by more than chance.

    Examples:
      classifier-training compare runs/shirts runs/shirts-2
      classifier-training compare runs/* -o comparison.html
    """
    from classifier_training.pages.write import compare_with_conclusions
    from classifier_training.terminal.terminal import Terminal

    path, messages = compare_with_conclusions(runs, output=output)
    terminal = Terminal()
    for message in messages:
        terminal.info(message)
    terminal.result(f"written: {path}")
