"""Every file of a run is shown with its meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.files.atomic import write_text
from classifier_training.run.folder import RunFolder, ScoredFolder
from classifier_training.run.tree import entries_of
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.list_files import show_files


def test_every_file_of_a_run_has_a_meaning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder(tmp_path)
    files = [run.root / entry.path for entry in entries_of(RunFolder)]
    for split in ("val", "test"):
        files.extend(run.scored(split).root / entry.path for entry in entries_of(ScoredFolder))
    for path in files:
        if path.suffix:
            write_text(path, "")
        else:
            for name in ("0.jpg", "1/2.jpg"):
                write_text(path / name, "")
    for folder in (run.checkpoints, run.data, run.export, run.plots):  # their files have a meaning each
        for name in ("0.jpg", "1/2.jpg"):
            (folder / name).unlink()

    show_files(run, Terminal())

    rows = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    shown = {name.strip(): meaning.strip() for name, meaning in rows}
    assert all(shown.values()), shown
    names = {f"{path.relative_to(tmp_path).as_posix()}{'' if path.suffix else '/'}" for path in files}
    assert shown.keys() == names - {"checkpoints/", "data/", "export/", "plots/"}
