from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from classifier_training.config.schema import DataConfig
from classifier_training.data.photos import load_photos

CLASSES = ("circle", "square")


def make_transparent(folder: Path, number: int = 6) -> None:
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for position in range(number):
            alpha = np.zeros((20, 20), np.uint8)
            alpha[2 : 8 + position, 3 : 12 if name == "square" else 5] = 255
            image = Image.new("RGB", (20, 20))
            image.putalpha(Image.fromarray(alpha))
            image.save(folder / name / f"{position}.png")


def make_deep(folder: Path, number: int = 6) -> None:
    for offset, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for position in range(number):
            values = np.arange(400, dtype=np.uint16).reshape(20, 20) * (offset + 2) + position
            Image.fromarray(values).save(folder / name / f"{position}.png")


def warnings_of(folder: Path, cache: Path, **settings: object) -> list[str]:
    data = {"root": str(folder), "cache_dir": str(cache), "test_fraction": 0.0, "val_fraction": 0.4, **settings}
    return [text for text in load_photos(DataConfig.model_validate(data), 0).warnings if "flat colour" in text]


def test_shapes_in_the_transparency_are_warned_of_by_name(tmp_path: Path) -> None:
    make_transparent(tmp_path / "photos")
    expected = (
        "12 of 12 images (100%) are decoded to one flat colour, as what they show is only in their transparency;"
        f" compose them on a colour with data.background=white (or black): {tmp_path}/photos/circle/0.png,"
        f" {tmp_path}/photos/circle/1.png, {tmp_path}/photos/circle/2.png and 9 more"
    )
    for _ in range(2):  # found now, and read from the stored index
        assert warnings_of(tmp_path / "photos", tmp_path / "cache") == [expected]
    assert warnings_of(tmp_path / "photos", tmp_path / "cache", background="white") == []
    (wrong,) = warnings_of(tmp_path / "photos", tmp_path / "cache", background=[0, 0, 0])
    assert "choose a data.background that differs from the colour that they show" in wrong


def test_deep_images_that_turn_black_are_warned_of_by_name(tmp_path: Path) -> None:
    make_deep(tmp_path / "photos")
    (warning,) = warnings_of(tmp_path / "photos", tmp_path / "cache")
    assert warning.startswith("12 of 12 images (100%) are decoded to one flat colour, as they hold more than 8 bits")
    assert "data.integer_range, such as [0, 4095] for 12 bits" in warning
    assert f"{tmp_path}/photos/circle/0.png" in warning
    assert warnings_of(tmp_path / "photos", tmp_path / "cache", integer_range=[0, 1400]) == []
