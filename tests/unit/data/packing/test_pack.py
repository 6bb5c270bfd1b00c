from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image
from tests.helpers.images import make_pixels

from classifier_training.data.packing.pack import shrink_image
from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import decode_image
from classifier_training.types import Decoding


def encoded(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], kind: str = "PNG", orientation: int = 1) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(file, kind, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("size", "expected"), [((100, 60), (50, 30)), ((60, 100), (30, 50)), ((61, 61), (30, 30)), ((1000, 31), (968, 30))]
)
def test_the_shorter_side_is_reduced(size: tuple[int, int], expected: tuple[int, int]) -> None:
    with Image.open(io.BytesIO(shrink_image(encoded(make_pixels(*size)), 30, "x"))) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", expected, "RGB")


def test_it_is_lanczos_at_high_quality_with_all_of_its_colour() -> None:
    pixels = make_pixels(200, 120)

    content = shrink_image(encoded(pixels), 60, "x")

    expected = np.asarray(Image.fromarray(pixels).resize((100, 60), Image.Resampling.LANCZOS), np.int16)
    assert np.abs(decode_image(content).astype(np.int16) - expected).mean() < 1.5
    with Image.open(io.BytesIO(content)) as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]  # of JPEG files


def test_it_is_upright() -> None:
    pixels = make_pixels(96, 64)

    content = shrink_image(encoded(pixels, "JPEG", orientation=6), 32, "x")

    turned = np.rot90(decode_image(encoded(pixels, "JPEG")), -1)
    expected = np.asarray(Image.fromarray(turned).resize((32, 48), Image.Resampling.LANCZOS), np.int16)
    assert np.abs(decode_image(content).astype(np.int16) - expected).mean() < 2
    with Image.open(io.BytesIO(content)) as image:
        assert dict(image.getexif()) == {}


def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(BadImageError, match=re.escape("cannot read /p/a.jpg: ")):
        shrink_image(b"no image", 10, "/p/a.jpg")
    with pytest.raises(BadImageError, match="cannot read a bomb: "):
        shrink_image(encoded(make_pixels(100, 100)), 10, "a bomb", decoding=Decoding(5000))
