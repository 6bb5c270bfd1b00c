"""The files of a finished run, each with its meaning."""

from __future__ import annotations

from classifier_training.run.folder import RunFolder
from classifier_training.run.tree import describe_file
from classifier_training.terminal.terminal import Terminal


def show_files(run: RunFolder, terminal: Terminal) -> None:
    """Shows every file of a run and its meaning."""
    names = [path.relative_to(run.root).as_posix() for path in run.written_files()]
    terminal.pairs(f"files in {run.root}", dict(map(describe_file, names)))
