from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.helpers.photos import make_photo, make_photos, write_table
from tests.helpers.web import serve

from classifier_training.data.sources.detect import list_photos
from classifier_training.errors import DataError


def paths(root: Path, images: list[str]) -> list[str]:
    """What the cells of a table in ``root`` mean, relative to it."""
    table = write_table(root / "t.csv", [{"image": image, "label": "a"} for image in images])
    return [os.path.relpath(sample.path, root) for sample in list_photos(table).samples()]


def test_backslashes(tmp_path: Path) -> None:
    make_photos(tmp_path, {"a/b": 1})
    make_photo(tmp_path / "odd\\name.png", 5)

    assert paths(tmp_path, ["a\\b\\0.png", ".\\a\\b\\0.png", "odd\\name.png", "gone\\x.png"]) == [
        "a/b/0.png",
        "a/b/0.png",
        "odd\\name.png",
        "gone/x.png",
    ]


def test_ids_without_an_ending(tmp_path: Path) -> None:
    for name in ("img_001.jpg", "img.2.png", "x/7.png", "plain"):
        make_photo(tmp_path / name, 0)

    assert paths(tmp_path, ["img_001", "img.2", "x/7", "plain", "gone", "img_001.jpg"]) == [
        "img_001.jpg",
        "img.2.png",
        "x/7.png",
        "plain",
        "gone",
        "img_001.jpg",
    ]
    make_photo(tmp_path / "img_001.png", 1)
    with pytest.raises(DataError, match=r"row 2: 'img_001' .* could be img_001\.jpg or img_001\.png; name the file$"):
        paths(tmp_path, ["img_001"])


def test_images_in_the_only_folder_beside_the_table(tmp_path: Path) -> None:
    make_photos(tmp_path, {"images": 3, "others": 1})
    (tmp_path / "others" / "0.png").rename(tmp_path / "others" / "9.png")

    assert paths(tmp_path, ["0.png", "1.png", "gone.png"]) == ["images/0.png", "images/1.png", "images/gone.png"]
    with pytest.raises(DataError, match=rf"in {tmp_path}/images and {tmp_path}/others; write the folder into"):
        paths(tmp_path, ["0.png", "9.png"])
    make_photo(tmp_path / "1.png", 0)
    assert paths(tmp_path, ["0.png", "1.png"]) == ["0.png", "1.png"]


def test_the_same_at_an_address(tmp_path: Path) -> None:
    make_photo(tmp_path / "set" / "train" / "img 1.png", 0)
    write_table(tmp_path / "set" / "train.csv", [{"image": "img 1", "label": "a"}])
    write_table(tmp_path / "set" / "t.csv", [{"image": "train\\img 1.png", "label": "a"}])
    content = (tmp_path / "set" / "train" / "img 1.png").read_bytes()

    with serve(tmp_path / "set") as web:
        for name in ("train.csv", "t.csv"):
            samples = list_photos(f"{web.address}/{name}", cache=tmp_path / "cache").samples()
            assert [sample.image.read() for sample in samples] == [content]
