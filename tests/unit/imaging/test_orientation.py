from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.helpers.images import make_pixels

from classifier_training.imaging.orientation import read_orientation, upright, upright_size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_pillow_turns_it(orientation: int) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(make_pixels(48, 32)).save(file, "PNG", exif=exif)

    with Image.open(file) as image:
        expected = ImageOps.exif_transpose(image)
        assert read_orientation(image) == orientation
        turned = upright(image, orientation)

        np.testing.assert_array_equal(np.asarray(turned), np.asarray(expected))
        assert upright_size(image.size, orientation) == turned.size
        assert (turned is image) == (orientation == 1)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_unknown_orientation_turns_nothing(orientation: int) -> None:
    image = Image.fromarray(make_pixels(48, 32))

    assert upright(image, orientation) is image
    assert upright_size(image.size, orientation) == (48, 32)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0broken"])
def test_without_a_readable_block_an_image_is_upright(exif: bytes) -> None:
    file = io.BytesIO()
    Image.fromarray(make_pixels()).save(file, "JPEG", exif=exif)

    with Image.open(file) as image:
        assert read_orientation(image) == 1
