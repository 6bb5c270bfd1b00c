from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.helpers.photos import make_photos
from tests.helpers.training import IMAGE_SIZE, LIGHTNING_NOTICES, make_model, make_trainer

from classifier_training.callbacks.dataset_statistics import DatasetStatisticsCallback
from classifier_training.data import ImageFolderDataModule
from classifier_training.figures.rendering import PlottingBudget
from classifier_training.run.folder import RunFolder
from classifier_training.terminal.terminal import Terminal

pytestmark = LIGHTNING_NOTICES

HOSTILE = ("$a_b$", "<b>[red]", "line\nbreak", "x" * 200)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {f"train/{name}": number + 2 for number, name in enumerate(HOSTILE)} | {f"val/{HOSTILE[0]}": 1}
    root = make_photos(tmp_path_factory.mktemp("photos"), counts)
    Image.new("L", (30, 90)).save(root / "val" / HOSTILE[0] / "grey.png")
    return root


def fit(folder: Path, photos: Path, terminal: Terminal | None = None, **options: Any) -> RunFolder:
    run = RunFolder(folder)
    data = ImageFolderDataModule(photos, batch_size=4, image_size=IMAGE_SIZE, num_workers=0)
    data.setup("fit")
    callback = DatasetStatisticsCallback(run.statistics, run.plots, terminal, **options)
    trainer = make_trainer(folder, callback, limit_train_batches=1, limit_val_batches=1)
    trainer.fit(make_model(classes=data.num_classes), datamodule=data)
    return run


def test_it_writes_and_plots_the_statistics_of_the_photos(tmp_path: Path, photos: Path) -> None:
    budget = PlottingBudget()

    run = fit(tmp_path, photos, budget=budget)

    found = json.loads(run.statistics.read_text(encoding="utf-8"))
    assert found["classes"] == sorted(HOSTILE)
    assert found["counts"]["train"] == [2 + HOSTILE.index(name) for name in sorted(HOSTILE)]
    assert found["modes"] == {"RGB": 15, "L": 1}
    assert found["height"]["max"] == 90
    for name in ("images_per_class.png", "image_sizes.png"):
        with Image.open(run.plots / name) as image:
            assert image.width >= 800
    assert budget.spent > 0


def test_it_prints_once(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()

    fit(tmp_path, photos, terminal)
    out = capsys.readouterr().out

    assert re.search(r"│ <b>\[red\] +│ +3 │ +0 │", out)
    assert re.search(r"│ line break +│ +4 │ +0 │", out)
    assert re.search(r"│ all +│ +14 │ +2 │", out)
    assert "2.5 (largest / smallest training class)" in out
    assert "20 to 30 px, median 20 px" in out
    assert "15 RGB, 1 L" in out
    assert "left out" not in out
    fit(tmp_path, photos, terminal)
    assert "all" not in capsys.readouterr().out, "a resumed run has printed them before"


def test_the_counts_are_left_out_where_they_were_printed_before(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path, photos, Terminal(), show_counts=False)
    out = capsys.readouterr().out
    assert "images per class" not in out
    assert "15 RGB, 1 L" in out


def test_of_many_classes_it_shows_the_extremes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = {f"train/class {number:02}": 1 + number for number in range(25)} | {"val/class 00": 1}
    root = make_photos(tmp_path / "photos", counts)

    fit(tmp_path / "run", root, Terminal())

    out = capsys.readouterr().out
    assert "… 5 more" in out
    shown = re.findall(r"class (\d\d)", out)
    assert shown == [f"{number:02}" for number in (*range(24, 14, -1), *range(9, -1, -1))]


def test_files_that_were_left_out_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_photos(tmp_path / "photos", {"train/a": 4, "train/b": 4, "val/a": 1})
    (root / "train" / "a" / "broken.png").write_bytes(b"")
    data = ImageFolderDataModule(
        root, batch_size=4, image_size=IMAGE_SIZE, num_workers=0, on_bad_image="skip", max_bad_fraction=0.5
    )
    callback = DatasetStatisticsCallback(tmp_path / "statistics.json", tmp_path / "plots", Terminal())
    make_trainer(tmp_path, callback).fit(make_model(classes=2), datamodule=data)

    assert re.search(r"left out +│ 1 file\(s\), named in data/split.csv", capsys.readouterr().out)
    (bad,) = json.loads((tmp_path / "statistics.json").read_text())["bad"]
    assert bad["file"].endswith("broken.png")


def test_what_cannot_be_written_stops_no_training(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with pytest.warns(UserWarning, match=r"data/statistics\.json could not be made, the rest continues"):
        fit(tmp_path, photos)
