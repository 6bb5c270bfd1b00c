from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import decode_image
from classifier_training.types import Decoding

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 9, 4), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK", "I;16"])
def test_a_pil_image_is_decoded_as_its_file(mode: str) -> None:
    deep = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 255)
    image = deep if mode == "I;16" else Image.fromarray(PIXELS).convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF" if mode == "CMYK" else "PNG")

    np.testing.assert_array_equal(decode_image(image), decode_image(file.getvalue()))
    assert image.mode == mode  # it is the caller's


def test_the_orientation_of_a_pil_image_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(PIXELS[..., :3]).save(file, "JPEG", exif=exif)

    with Image.open(file) as image:
        np.testing.assert_array_equal(decode_image(image), decode_image(file.getvalue()))
        assert decode_image(image).shape == (9, 7, 3)


def test_arrays_are_grey_rgb_or_rgba() -> None:
    rgb = np.ascontiguousarray(PIXELS[..., :3])
    grey = np.repeat(PIXELS[..., :1], 3, axis=2)

    for array, expected in (
        (rgb, rgb),
        (PIXELS[..., :3][:, ::-1], rgb[:, ::-1]),
        (PIXELS, rgb),
        (PIXELS[..., 0], grey),
        (PIXELS[..., :1], grey),
        (PIXELS[..., 0].astype(np.uint16) << 8, grey),
    ):
        decoded = decode_image(array)
        np.testing.assert_array_equal(decoded, expected)
        decoded[:] = 0
    assert PIXELS.any()  # what is decoded is a copy
    composed = decode_image(np.zeros((2, 2, 4), np.uint8), decoding=Decoding(background=(9, 8, 7)))
    assert composed[0, 0].tolist() == [9, 8, 7]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"an array of shape \(3, 8, 8\) is not an image; give uint8 of shape"),
        (np.zeros((8, 8, 3), np.float32), "an array of float32 is not an image; .*values from black to white"),
        (np.zeros((8, 8, 3), np.uint16), "an array of uint16 is not an image"),
        (np.zeros((0, 8, 3), np.uint8), r"shape \(0, 8, 3\)"),
        (np.zeros(8, np.uint8), r"shape \(8,\)"),
    ],
)
def test_other_arrays_are_refused_in_one_line(array: Any, reason: str) -> None:
    with pytest.raises(BadImageError, match=reason) as caught:
        decode_image(array)
    assert "\n" not in str(caught.value)


def test_the_limit_of_pixels_holds_in_memory_too() -> None:
    for image in (PIXELS, Image.fromarray(PIXELS)):
        with pytest.raises(BadImageError, match="it has more than 62 pixels"):
            decode_image(image, decoding=Decoding(max_pixels=62))
