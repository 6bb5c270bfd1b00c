from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from classifier_training.imaging.decode import check_image, decode_image
from classifier_training.imaging.jpeg import EncodedImage
from classifier_training.types import Decoding

SHAPE = np.zeros((12, 10), np.uint8)
SHAPE[3:9, 2:8] = 255
SHAPE[3, 2] = 100
WHITE = Decoding(background=(255, 255, 255))


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def transparent(mode: str) -> bytes:
    """A black shape that is only in the transparency."""
    alpha = Image.fromarray(SHAPE)
    if mode == "P":
        palette = Image.new("P", (10, 12))
        palette.putpalette([0, 0, 0, 0, 0, 0])
        palette.putdata((SHAPE.reshape(-1) == 0).astype(int).tolist())
        return saved(palette, transparency=1)
    image = Image.new("L" if mode == "LA" else "RGB", (10, 12))
    image.putalpha(alpha)
    return saved(
        image, "WEBP" if mode == "webp" else "PNG", **({"lossless": True, "exact": True} if mode == "webp" else {})
    )


def composed(level: int, background: int) -> NDArray[np.float64]:
    opaque = SHAPE / 255.0
    return level * opaque + background * (1.0 - opaque)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "webp", "P"])
def test_transparent_images_are_composed_on_the_background(mode: str) -> None:
    content = transparent(mode)

    assert not decode_image(content).any()  # without a background, the colour under the transparency
    for level in (255, 128):
        pixels = decode_image(content, decoding=Decoding(background=(level, level, 7)))
        expected = composed(0, level) if mode != "P" else np.where(SHAPE == 0, level, 0)
        np.testing.assert_allclose(pixels[..., 0], expected, atol=1)
        np.testing.assert_array_equal(
            EncodedImage(content, "a", decoding=Decoding(background=(level, level, 7))).decode(), pixels
        )


def test_a_background_changes_no_image_without_transparency() -> None:
    for mode, form in (("RGB", "PNG"), ("L", "PNG"), ("RGB", "JPEG"), ("CMYK", "JPEG")):
        content = saved(Image.effect_noise((20, 20), 60).convert(mode), form)
        np.testing.assert_array_equal(decode_image(content, decoding=WHITE), decode_image(content))


@pytest.mark.parametrize(
    ("dtype", "form"), [(np.uint16, "PNG"), (np.uint16, "TIFF"), (np.int32, "TIFF"), (np.float32, "TIFF")]
)
def test_an_integer_range_states_black_and_white(dtype: type[np.generic], form: str) -> None:
    values = np.array([[0, 1000], [2500, 4095], [5000, 60000]]).astype(dtype)
    content = saved(Image.fromarray(values), form)

    pixels = decode_image(content, decoding=Decoding(integer_range=(1000, 4095)))

    expected = np.rint(np.clip((values.astype(float) - 1000) * 255 / 3095, 0, 255))
    np.testing.assert_array_equal(pixels, np.repeat(expected[..., None], 3, axis=2))


def test_images_that_become_flat_are_found() -> None:
    for mode in ("RGBA", "LA", "P"):
        assert check_image(transparent(mode)).is_flat
        assert not check_image(transparent(mode), decoding=WHITE).is_flat
        assert check_image(transparent(mode), decoding=Decoding(background=(0, 0, 0))).is_flat
    twelve_bits = saved(Image.fromarray(np.arange(120, dtype=np.uint16).reshape(12, 10) * 34))
    assert check_image(twelve_bits).is_flat
    assert not check_image(twelve_bits, decoding=Decoding(integer_range=(0, 4095))).is_flat


def test_images_that_are_of_one_colour_anyway_are_not_reported() -> None:
    for image in (Image.new("RGB", (9, 9), "red"), Image.new("RGBA", (9, 9), "red"), Image.new("I;16", (9, 9), 300)):
        assert not check_image(saved(image)).is_flat
    opaque = Image.effect_noise((20, 20), 80).convert("RGB")
    opaque.putalpha(Image.effect_noise((20, 20), 80))
    assert not check_image(saved(opaque)).is_flat
