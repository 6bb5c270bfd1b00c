from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image, ImageCms
from tests.helpers.images import jpeg_bytes, make_image, make_pixels

from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.jpeg import SHRINKS, EncodedImage, largest_shrink
from classifier_training.types import Decoding

PHOTOS = sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))
ODD_SIZES = [(1, 1), (8, 8), (7, 9), (16, 17), (33, 31), (1, 70), (70, 3), (64, 48)]


def encode(size: tuple[int, int], mode: str = "RGB", seed: int = 0, **options: int | bool) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 2 + 1, size[0] // 2 + 1, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize(size).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [10, 75, 98])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_whole_jpeg_has_the_very_bits_of_pillow(mode: str, subsampling: int, quality: int, progressive: bool) -> None:
    for seed, size in enumerate(ODD_SIZES):
        content = encode(size, mode, seed, quality=quality, subsampling=subsampling, progressive=progressive)

        image = EncodedImage(content, "a.jpg")

        assert image.size == size
        np.testing.assert_array_equal(image.decode(), decode_image(content))


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_a_real_photo_has_the_very_bits_of_pillow(path: Path) -> None:
    np.testing.assert_array_equal(EncodedImage(path.read_bytes(), str(path)).decode(), decode_image(path))


@pytest.mark.parametrize("shrink", SHRINKS)
@pytest.mark.parametrize("size", ODD_SIZES)
def test_sides_are_divided_and_rounded_up(size: tuple[int, int], shrink: int) -> None:
    png = io.BytesIO()
    Image.new("RGB", size, (9, 8, 7)).save(png, "PNG")

    for content in (encode(size), png.getvalue(), encode(size, "CMYK")):
        decoded = EncodedImage(content, "a").decode(shrink)
        assert decoded.shape == (-(-size[1] // shrink), -(-size[0] // shrink), 3)
        assert decoded.dtype == np.uint8


@pytest.mark.parametrize("shrink", SHRINKS)
@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.stem)
def test_a_smaller_photo_is_the_mean_of_its_pixels_within_three_levels(path: Path, shrink: int) -> None:
    image = EncodedImage(path.read_bytes(), str(path))

    smaller = image.decode(shrink).astype(np.int64)

    means = np.asarray(Image.fromarray(decode_image(path)).reduce(shrink)).astype(np.int64)
    assert np.abs(smaller - means).mean() < 3
    assert np.abs(smaller.mean() - means.mean()) < 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shrink", [1, 2])
def test_images_are_turned_upright(tmp_path: Path, orientation: int, shrink: int) -> None:
    path = make_image(tmp_path / "a.jpg", make_pixels(64, 32), orientation=orientation)
    image = EncodedImage(path.read_bytes(), str(path))

    upright = decode_image(path)
    assert image.size == (upright.shape[1], upright.shape[0])
    expected = np.asarray(Image.fromarray(upright).reduce(shrink)).astype(np.int64)
    assert np.abs(image.decode(shrink) - expected).max() <= (0 if shrink == 1 else 12)


def test_the_orientation_is_also_found_in_xmp() -> None:
    file = io.BytesIO()
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    Image.fromarray(make_pixels(64, 32)).save(file, "JPEG", xmp=xmp)

    image = EncodedImage(file.getvalue(), "a.jpg")

    assert image.size == (32, 64)
    np.testing.assert_array_equal(image.decode(), decode_image(file.getvalue()))


def test_a_broken_exif_block_and_other_segments_are_ignored() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for options in ({"exif": b"Exif\0\0broken"}, {"icc_profile": profile}, {"comment": b"hello"}):
        file = io.BytesIO()
        Image.fromarray(make_pixels()).save(file, "JPEG", **options)
        np.testing.assert_array_equal(EncodedImage(file.getvalue(), "a").decode(), decode_image(file.getvalue()))


@pytest.mark.parametrize("mode", ["CMYK", "RGBA", "P", "I;16"])
def test_a_file_that_is_not_a_plain_jpeg_is_read_as_everywhere(mode: str) -> None:
    file = io.BytesIO()
    pixels = Image.fromarray(make_pixels())
    image = Image.fromarray(np.arange(48 * 32, dtype=np.uint16).reshape(32, 48)) if mode == "I;16" else pixels
    image.convert(mode).save(file, "JPEG" if mode == "CMYK" else "PNG")

    encoded = EncodedImage(file.getvalue(), "a")

    assert encoded.size == (48, 32)
    np.testing.assert_array_equal(encoded.decode(), decode_image(file.getvalue()))


def test_damage_is_reported_as_everywhere() -> None:
    whole = jpeg_bytes(make_pixels(200, 200))
    for content in (whole[: len(whole) // 2], whole[:-20], whole[:300], b"", b"text"):
        with pytest.raises(BadImageError) as expected:
            decode_image(content, "a.jpg")
        with pytest.raises(BadImageError) as caught:
            EncodedImage(content, "a.jpg").decode(2)
        assert str(caught.value) == str(expected.value)


def test_stray_bytes_that_pillow_tolerates_are_tolerated() -> None:
    whole = jpeg_bytes(make_pixels(64, 64))
    stray = whole[:2] + b"\xff\xff" + whole[2:]  # fill bytes before a marker
    ending = whole + b"appended"

    for content in (stray, ending):
        np.testing.assert_array_equal(EncodedImage(content, "a").decode(), decode_image(content))


@pytest.mark.parametrize("format_name", ["JPEG", "PNG"])
def test_too_many_pixels_are_refused_before_decoding(format_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.fromarray(make_pixels(48, 32)).save(file, format_name)

    with pytest.raises(BadImageError, match=r"a: it has more than 1535 pixels; raise data\.max_image_pixels"):
        EncodedImage(file.getvalue(), "a", decoding=Decoding(48 * 32 - 1))
    assert EncodedImage(file.getvalue(), "a", decoding=Decoding(48 * 32)).decode().shape == (32, 48, 3)

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.raises(BadImageError, match="more than 1400 pixels, the safe limit of Pillow"):
        EncodedImage(file.getvalue(), "a")
    assert EncodedImage(file.getvalue(), "a", decoding=Decoding(48 * 32)).decode().shape == (32, 48, 3)


def test_the_largest_shrink_covers_what_is_needed() -> None:
    assert [largest_shrink(side, 100) for side in (50, 100, 199, 200, 399, 400, 800, 9000)] == [1, 1, 1, 2, 2, 4, 8, 8]
