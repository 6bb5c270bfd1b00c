from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.helpers.photos import make_photo, make_photos

from classifier_training.config.schema import DataConfig
from classifier_training.data.index import statistics as statistics_module
from classifier_training.data.index.statistics import NUM_BINS, dataset_statistics
from classifier_training.data.photos import load_photos
from classifier_training.run.records import read_record, write_record
from classifier_training.run.statistics import Statistics


def statistics_of(root: Path, **settings: Any) -> dict[str, Any]:
    found = dataset_statistics(load_photos(DataConfig(root=str(root), **settings), 0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statistics.json"
        write_record(path, found)
        assert read_record(path, Statistics) == found
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def test_images_are_counted_by_class_and_split(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train/b": 6, "train/a": 2, "train/c": 3, "val/a": 1, "val/c": 4})

    found = statistics_of(tmp_path)

    assert found["classes"] == ["a", "b", "c"]
    assert found["counts"] == {"train": [2, 6, 3], "val": [1, 0, 4]}
    assert found["num_images"] == 16
    assert found["imbalance_ratio"] == 3.0
    assert found["root"] == str(tmp_path)
    assert (found["format"], found["bad"], found["num_bad"]) == (1, [], 0)


def test_sizes_are_those_of_the_upright_images_of_all_splits(tmp_path: Path) -> None:
    sizes = {"train/a/1": (20, 10), "train/b/1": (40, 10), "val/a/1": (30, 60), "val/b/1": (10, 10)}
    for number, (name, size) in enumerate(sizes.items()):
        make_photo(tmp_path / f"{name}.png", number, size)

    found = statistics_of(tmp_path)

    assert found["width"] == {"min": 10, "median": 25, "max": 40}
    assert found["height"] == {"min": 10, "median": 10, "max": 60}
    assert found["aspect_ratio"] == {"min": 0.5, "median": 1.5, "max": 4}
    for name in ("width", "height", "aspect_ratio"):
        edges, counts = found["histograms"][name]["edges"], found["histograms"][name]["counts"]
        assert (len(edges), len(counts), sum(counts)) == (NUM_BINS + 1, NUM_BINS, 4)
        assert (edges[0], edges[-1]) == (found[name]["min"], found[name]["max"])
        assert edges == sorted(edges)


@pytest.mark.parametrize(("largest", "grows"), [(79, False), (1000, True)])
def test_bins_grow_where_sizes_do(tmp_path: Path, largest: int, grows: bool) -> None:
    make_photos(tmp_path, {"train/a": 1, "train/b": 1})
    for number, side in enumerate((10, largest)):
        make_photo(tmp_path / "val" / "a" / f"{number}.png", number, (side, side))

    edges = np.array(statistics_of(tmp_path)["histograms"]["width"]["edges"])

    steps = np.diff(edges)
    assert bool(steps[-1] > 2 * steps[0]) is grows


def test_images_of_one_size_are_one_bin(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train/a": 2, "train/b": 2, "val/a": 1})
    assert statistics_of(tmp_path)["histograms"]["width"] == {"edges": [20, 20], "counts": [5]}


def test_modes_are_those_of_the_files(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train/a": 3, "train/b": 1, "val/a": 1})
    for mode, kind in {"L": "png", "RGBA": "png", "CMYK": "jpg", "P": "png", "1": "png", "I;16": "png"}.items():
        Image.new(mode, (8, 9)).save(tmp_path / "train" / "b" / f"{mode[0]}.{kind}")

    modes = statistics_of(tmp_path)["modes"]

    assert modes == {"RGB": 5, "L": 1, "RGBA": 1, "CMYK": 1, "P": 1, "1": 1, "I;16": 1}
    assert next(iter(modes)) == "RGB"


def test_what_was_left_out_is_named_but_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_module, "MAX_BAD_NAMED", 1)
    make_photos(tmp_path, {"train/a": 9, "train/b": 9, "val/a": 2})
    for name in ("x.png", "y.png"):
        (tmp_path / "train" / "a" / name).write_bytes(b"no image")

    found = statistics_of(tmp_path, on_bad_image="skip", max_bad_fraction=0.5)

    assert found["num_images"] == 20
    assert found["num_bad"] == 2
    (bad,) = found["bad"]
    assert bad["file"].endswith("a/x.png")
    assert "it is not an image" in bad["reason"]
    assert found["width"]["min"] == 20
