from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers.images import make_image, make_pixels

from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import resize_and_crop
from classifier_training.results.thumbnails import Thumbnails, overlaid
from classifier_training.types import ImageRecord, Preprocessing

PREPROCESSING = Preprocessing(image_size=224)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return make_image(tmp_path / "photo.jpg", make_pixels(900, 600))


def make(tmp_path: Path, *photos: Path, preprocessing: Preprocessing = PREPROCESSING) -> Thumbnails:
    return Thumbnails(tmp_path / "pictures", [ImageRecord(str(photo)) for photo in photos], preprocessing)


@pytest.mark.parametrize("orientation", [None, 6])
@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
def test_it_is_what_the_model_saw_but_smaller(name: str, orientation: int | None, tmp_path: Path) -> None:
    photo = make_image(tmp_path / name, make_pixels(900, 600), orientation=orientation)
    pixels = make(tmp_path, photo).pixels(0, 112)
    seen = Image.fromarray(resize_and_crop(decode_image(photo), PREPROCESSING))
    expected = np.asarray(seen.resize((112, 112), Image.Resampling.BOX), dtype=float)
    assert pixels is not None
    assert pixels.shape == (112, 112, 3)
    assert np.abs(pixels - expected).mean() < 2


def test_it_is_never_larger_than_the_model_saw_it(photo: Path, tmp_path: Path) -> None:
    pixels = make(tmp_path, photo, preprocessing=Preprocessing(image_size=32)).pixels(0, 112)
    assert pixels is not None
    assert pixels.shape == (32, 32, 3)


def test_a_larger_one_replaces_a_smaller_one_and_serves_for_it(photo: Path, tmp_path: Path) -> None:
    thumbnails = make(tmp_path, photo)
    path = thumbnails.make(0, 112)
    assert path is not None
    assert size_of(path) == (112, 112)
    assert thumbnails.make(0, 224) == path
    assert size_of(path) == (224, 224)
    before = path.stat().st_ino
    thumbnails.make(0, 112)
    assert path.stat().st_ino == before
    assert size_of(path) == (224, 224)


@pytest.mark.parametrize("change", [{"crop_pct": 0.5}, {"image_size": 256}, {"interpolation": "nearest"}])
def test_another_preprocessing_makes_it_anew(change: dict[str, object], photo: Path, tmp_path: Path) -> None:
    first = make(tmp_path, photo).make(0, 112)
    assert first is not None
    before = first.stat().st_ino
    make(tmp_path, photo, preprocessing=replace(PREPROCESSING, **change)).make(0, 112)  # type: ignore[arg-type]
    assert first.stat().st_ino != before


def test_a_picture_that_has_changed_is_made_anew(photo: Path, tmp_path: Path) -> None:
    thumbnails = make(tmp_path, photo)
    path = thumbnails.make(0, 112)
    assert path is not None
    before = path.read_bytes()
    make_image(photo, make_pixels(901, 600, seed=7))
    thumbnails.make(0, 112)
    assert path.read_bytes() != before


def test_another_picture_of_the_same_size_and_time_is_made_anew(tmp_path: Path) -> None:
    photo = make_image(tmp_path / "photo.bmp", make_pixels(90, 60))
    thumbnails = make(tmp_path, photo)
    path = thumbnails.make(0, 112)
    assert path is not None
    before, status = path.read_bytes(), photo.stat()
    make_image(photo, make_pixels(90, 60, seed=7))
    os.utime(photo, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert photo.stat().st_size == status.st_size

    assert thumbnails.make(0, 112) == path
    assert path.read_bytes() != before


def test_only_what_was_scored_is_shown(tmp_path: Path) -> None:
    """The file has been replaced since: the earlier image is kept, and the new one is not shown in its place."""
    photo = make_image(tmp_path / "photo.png", make_pixels(90, 60))
    digest = hashlib.blake2b(photo.read_bytes(), digest_size=16).hexdigest()
    thumbnails = Thumbnails(tmp_path / "pictures", [ImageRecord(str(photo))], PREPROCESSING, lambda _: digest)
    path = thumbnails.make(0, 112)
    assert path is not None
    before = path.read_bytes()
    make_image(photo, make_pixels(90, 60, seed=7))

    assert thumbnails.make(0, 112) == path
    assert path.read_bytes() == before
    assert thumbnails.make(0, 224) is None
    assert thumbnails.pixels(0, 112) is None
    assert thumbnails.overlay(0, 112, np.ones((2, 2), np.float32)) is None
    photo.unlink()
    assert thumbnails.make(0, 112) == path


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xfe\x00\x40of 00000000, x pixels"])
def test_what_lies_in_its_place_and_is_none_is_replaced(content: bytes, photo: Path, tmp_path: Path) -> None:
    place = tmp_path / "pictures" / "0.jpg"
    place.parent.mkdir()
    place.write_bytes(content)
    assert make(tmp_path, photo).make(0, 112) == place
    assert size_of(place) == (112, 112)


@pytest.mark.parametrize("name", ["gone.jpg", "\0.jpg", "x" * 300])
def test_of_a_picture_that_cannot_be_there_there_is_none(name: str, tmp_path: Path) -> None:
    thumbnails = make(tmp_path, tmp_path / name)
    assert thumbnails.make(0, 112) is None
    assert thumbnails.pixels(0, 112) is None
    assert thumbnails.overlay(0, 112, np.ones((2, 2), np.float32)) is None


def test_importance_is_shown_by_colour_over_the_image() -> None:
    pixels = np.full((40, 40, 3), 100, np.uint8)
    pixels[:20] = 140
    importance = np.zeros((4, 4), np.float32)
    importance[:, 2:] = 1
    shown = overlaid(pixels, importance).astype(int)
    assert shown.shape == (40, 40, 3)
    assert shown[5, 35].sum() > shown[5, 5].sum() + 150, "what mattered is no brighter"
    assert shown[5, 35].sum() > shown[35, 35].sum() + 30, "the image is gone"
    assert np.ptp(shown[5, 35]) > 20, "it has no colour"
