from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers.images import make_image, make_pixels

from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import check_image, decode_image
from classifier_training.imaging.pillow_state import TooManyPixelsError, pixel_limit, refuse_too_many_pixels
from classifier_training.types import Decoding


@pytest.mark.parametrize("limit", [1534, 1535])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.gif", "a.webp"])
def test_one_pixel_too_many_is_refused_and_the_setting_named(tmp_path: Path, name: str, limit: int) -> None:
    path = make_image(tmp_path / name, make_pixels(48, 32))

    for read in (decode_image, check_image):
        with pytest.raises(BadImageError) as caught:
            read(path, decoding=Decoding(limit))
        assert str(caught.value) == (
            f"cannot read {path}: it has more than {limit} pixels; raise data.max_image_pixels if it is not a"
            " decompression bomb"
        )
    assert decode_image(path, decoding=Decoding(1536)).shape == (32, 48, 3)


def test_a_limit_above_pillows_own_holds_and_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_image(tmp_path / "a.png", make_pixels(48, 32))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    assert decode_image(path, decoding=Decoding(1536)).shape == (32, 48, 3)

    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(BadImageError, match="more than 200 pixels, the safe limit of Pillow"):
        decode_image(path)


def test_the_limit_is_given_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with pytest.raises(KeyError), pixel_limit(10_000):
        raise KeyError

    assert Image.MAX_IMAGE_PIXELS == 100


def test_threads_that_overlap_leave_pillows_limit_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_image(tmp_path / "a.png", make_pixels(48, 32))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with ThreadPoolExecutor(8) as executor:
        limits = [1536 + number % 5 for number in range(200)]
        shapes = list(executor.map(lambda limit: decode_image(path, decoding=Decoding(limit)).shape, limits))

    assert set(shapes) == {(32, 48, 3)}
    assert Image.MAX_IMAGE_PIXELS == 100


def test_pillow_without_a_limit_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)

    refuse_too_many_pixels((1_000_000, 1_000_000), None)
    with pytest.raises(TooManyPixelsError, match="more than 5 pixels"):
        refuse_too_many_pixels((2, 3), 5)
    with pixel_limit(5):
        pass
    assert Image.MAX_IMAGE_PIXELS is None
