from __future__ import annotations

import hashlib
import os

from tests.helpers.images import make_image, make_pixels

from classifier_training.run.folder import RunFolder
from classifier_training.tracking.run_figures import RunFigures


def test_every_png_is_named_by_its_path(run: RunFolder) -> None:
    figures = RunFigures(run).find()
    assert [figure.name for figure in figures] == ["plots/history", "val/confusion_matrix"]
    content = (run.plots / "history.png").read_bytes()
    assert (figures[0].png, figures[0].sha256) == (content, hashlib.sha256(content).hexdigest())


def test_files_of_trackers_and_other_files_are_left_out(run: RunFolder) -> None:
    make_image(run.wandb / "run" / "media" / "copy.png")
    make_image(run.tensorboard / "copy.png")
    make_image(run.plots / ".history.png.abc.png")
    make_image(run.plots / "photo.jpg")
    (run.plots / "empty.png").touch()
    (run.plots / "gone.png").symlink_to("nowhere")
    (run.plots / "folder.png").mkdir()
    assert [figure.name for figure in RunFigures(run).find()] == ["plots/history", "val/confusion_matrix"]


def test_a_file_that_was_written_again_is_read_again(run: RunFolder) -> None:
    figures = RunFigures(run)
    first, untouched = figures.find()
    make_image(run.plots / "history.png", make_pixels(seed=9))
    os.utime(run.plots / "history.png", ns=(1, 1))
    again, same = figures.find()
    assert again.sha256 != first.sha256
    assert same is untouched


def test_a_name_that_is_not_utf8_is_written_with_escapes(run: RunFolder) -> None:
    make_image(run.plots / "\udcff<b>.png", format_name="PNG")
    assert "plots/\\udcff<b>" in [figure.name for figure in RunFigures(run).find()]


def test_a_run_without_a_folder_has_no_figures(run: RunFolder) -> None:
    assert RunFigures(RunFolder(run.root / "none")).find() == []
