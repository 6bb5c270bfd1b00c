"""Every file of a run is shown with what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.files.atomic import write_text
from classifier_training.run.folder import RunFolder, ScoredFolder
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.list_files import show_files


def properties_of(folder: RunFolder | ScoredFolder) -> dict[str, Path]:
    """Every path that is described."""
    names = [name for name, value in vars(type(folder)).items() if isinstance(value, property)]
    return {name: getattr(folder, name) for name in names}


def test_every_file_of_a_run_has_a_meaning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunFolder(tmp_path)
    files = list(properties_of(run).values())
    for split in ("val", "test"):
        files.extend(properties_of(run.scored(split)).values())
    figures = ("history", "sampler_distribution", "images_per_class", "image_sizes", "train_batch")
    files.extend(run.plots / f"{name}.png" for name in figures)
    for path in files:
        if path.suffix:
            write_text(path, "")
        else:
            for name in ("0.jpg", "1/2.jpg"):
                write_text(path / name, "")
    for folder in (run.checkpoints, run.export, run.plots):  # their files have a meaning each
        for name in ("0.jpg", "1/2.jpg"):
            (folder / name).unlink()

    show_files(run, Terminal())

    rows = [line.strip("│ ").split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    shown = {name.strip(): meaning.strip() for name, meaning in rows}
    assert all(shown.values()), shown
    places = {f"{path.relative_to(tmp_path).as_posix()}{'' if path.suffix else '/'}" for path in files}
    assert shown.keys() == places - {"checkpoints/", "export/", "plots/"}
