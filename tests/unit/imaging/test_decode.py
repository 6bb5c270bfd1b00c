from __future__ import annotations

import errno
import io
import os
import random
import struct
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tests.helpers.images import jpeg_bytes, make_image, make_pixels

from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import (
    IMAGE_EXTENSIONS,
    check_image,
    decode_image,
    read_orientation,
    upright,
    upright_size,
)

PIXELS = make_pixels(48, 32)
GRADIENT = np.linspace(0, 65535, 48 * 32).reshape(32, 48)


@pytest.fixture(autouse=True)
def _keep_warning_filters() -> Iterator[None]:
    before = list(warnings.filters)
    yield
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.png", "RGB"),
        ("a.png", "RGBA"),
        ("a.png", "L"),
        ("a.png", "LA"),
        ("a.png", "1"),
        ("a.png", "P"),
        ("a.gif", "P"),
        ("a.bmp", "RGB"),
        ("a.ppm", "RGB"),
        ("a.pgm", "L"),
        ("a.webp", "RGB"),
        ("a.jpg", "RGB"),
        ("a.jpg", "L"),
        ("a.jpg", "CMYK"),
        ("a.tif", "CMYK"),
        ("a.tif", "YCbCr"),
        ("a.tif", "LAB"),
        ("a.jp2", "RGB"),
    ],
)
def test_every_mode_becomes_what_pillow_calls_rgb(tmp_path: Path, name: str, mode: str) -> None:
    path = make_image(tmp_path / name, PIXELS, mode=mode)

    decoded = decode_image(path)

    with Image.open(path) as image:
        expected = np.array(image.convert("RGB"))
    np.testing.assert_array_equal(decoded, expected)
    assert decoded.dtype == np.uint8
    assert decoded.shape == (32, 48, 3)
    assert decoded.flags.writeable
    assert check_image(path).size == (48, 32)


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_lossy_files_look_like_the_original(tmp_path: Path, mode: str) -> None:
    decoded = decode_image(make_image(tmp_path / "a.jpg", PIXELS, mode=mode))

    assert np.abs(decoded.astype(int) - PIXELS).mean() < 4


def test_a_cmyk_jpeg_with_adobe_inversion_is_not_a_negative() -> None:
    file = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(file, "JPEG", quality=95)
    assert b"Adobe" in file.getvalue()

    red, green, blue = decode_image(file.getvalue())[8, 8]

    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm", "a.jp2"])
def test_16_bits_are_scaled_and_not_clipped(tmp_path: Path, name: str) -> None:
    values = GRADIENT.astype(np.uint16)
    Image.fromarray(values).save(tmp_path / name)

    decoded = decode_image(tmp_path / name)

    np.testing.assert_array_equal(decoded, np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2))
    assert check_image(tmp_path / name).size == (48, 32)


def test_big_endian_16_bits(tmp_path: Path) -> None:
    values = GRADIENT.astype(">u2")
    Image.frombytes("I;16B", (48, 32), values.tobytes()).save(tmp_path / "a.tif")

    np.testing.assert_array_equal(decode_image(tmp_path / "a.tif")[..., 0], values.astype(np.int64) >> 8)


def test_32_bits_use_their_own_range(tmp_path: Path) -> None:
    values = (GRADIENT * 16).astype(np.int32)
    Image.fromarray(values).save(tmp_path / "a.tif")

    np.testing.assert_array_equal(decode_image(tmp_path / "a.tif")[..., 0], values >> 12)


@pytest.mark.parametrize("full_scale", [1.0, 255.0, 65535.0, 1e6])
def test_floats_are_scaled_from_the_usual_full_scales(tmp_path: Path, full_scale: float) -> None:
    values = (GRADIENT / 65535 * full_scale).astype(np.float32)
    values[0, 0] = np.nan
    values[0, 1] = -full_scale
    Image.fromarray(values).save(tmp_path / "a.tif")

    decoded = decode_image(tmp_path / "a.tif")[..., 0]

    expected = np.rint(GRADIENT / 65535 * 255)
    expected[0, :2] = 0
    assert np.abs(decoded - expected).max() <= 1


def test_the_colour_under_a_transparent_pixel_is_kept(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (10, 200, 30, 0)).save(tmp_path / "a.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.save(tmp_path / "p.png", transparency=bytes([255, 0]))

    for name in ("a.png", "p.png"):
        assert decode_image(tmp_path / name)[0, 0].tolist() == [10, 200, 30]


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_of_an_animation_the_first_frame_is_read(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=50, lossless=True)

    np.testing.assert_array_equal(decode_image(tmp_path / name), np.array(frames[0]))
    assert check_image(tmp_path / name).size == (8, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_the_orientation_is_applied(tmp_path: Path, name: str, orientation: int) -> None:
    path = make_image(tmp_path / name, PIXELS, orientation=orientation)

    decoded = decode_image(path)

    with Image.open(path) as image:
        expected = ImageOps.exif_transpose(image)
        np.testing.assert_array_equal(decoded, np.array(expected.convert("RGB")))
    assert decoded.shape == ((48, 32, 3) if orientation >= 5 else (32, 48, 3))
    assert check_image(path).size == (decoded.shape[1], decoded.shape[0])


@pytest.mark.parametrize(
    "block", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\xff"]
)
def test_a_broken_exif_block_is_ignored(block: bytes) -> None:
    plain = jpeg_bytes(PIXELS)
    broken = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]

    np.testing.assert_array_equal(decode_image(broken), decode_image(plain))
    assert check_image(broken).size == (48, 32)


def test_the_name_does_not_decide_the_format(tmp_path: Path) -> None:
    path = make_image(tmp_path / "really_a_png.jpg", PIXELS, format_name="PNG")

    np.testing.assert_array_equal(decode_image(path), PIXELS)
    assert check_image(str(path)).size == (48, 32)


@pytest.mark.parametrize("progressive", [False, True])
def test_the_cheap_check_finds_exactly_the_truncations_that_decoding_finds(progressive: bool) -> None:
    whole = jpeg_bytes(np.array(random.Random(0).choices(range(256), k=64 * 80 * 3), np.uint8).reshape(64, 80, 3))
    whole = jpeg_bytes(make_pixels(320, 240), progressive=progressive) if progressive else whole
    verdicts = set()
    for length in [*range(1, len(whole), len(whole) // 40), *range(len(whole) - 6, len(whole) + 1)]:
        verdicts.add((_is_readable(whole[:length], check_image), _is_readable(whole[:length], decode_image)))

    assert verdicts == {(True, True), (False, False)}


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.bmp", "a.tif", "a.webp", "a.ppm", "a.jp2"])
@pytest.mark.parametrize("read", [decode_image, check_image])
def test_truncation_is_found_in_every_format(tmp_path: Path, name: str, read: object) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path = make_image(tmp_path / name, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert callable(read)

    with pytest.raises(BadImageError, match=rf"^cannot read .*{name}: \S[^\n]*$"):
        read(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, I am text", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "not an image"),
    ],
)
def test_a_file_that_is_not_an_image_is_reported(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)

    for read in (decode_image, check_image):
        with pytest.raises(BadImageError, match=reason) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match=r"nothing\.png: no such file"):
        decode_image(tmp_path / "nothing.png")
    with pytest.raises(BadImageError, match="is a directory"):
        check_image(tmp_path)


def test_bytes_are_named_by_their_size() -> None:
    with pytest.raises(BadImageError, match="image of 3 bytes"):
        decode_image(b"abc")


def test_a_decompression_bomb_is_refused_and_a_large_image_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_image(tmp_path / "a.png", PIXELS)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 32 - 1)
    assert decode_image(path).shape == (32, 48, 3)

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    for read in (decode_image, check_image):
        with pytest.raises(BadImageError, match="more than 1400 pixels"):
            read(path)


def test_too_many_open_files_are_not_blamed_on_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_image(tmp_path / "a.png", PIXELS)

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        decode_image(path)


def test_threads_that_overlap_leave_no_warning_filter_behind(tmp_path: Path) -> None:
    palette = Image.new("P", (64, 64), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    path = tmp_path / "p.png"
    palette.save(path, transparency=bytes([255, 0]))

    with ThreadPoolExecutor(8) as executor:
        decoded = list(executor.map(decode_image, [path] * 200))

    assert all(image[0, 0].tolist() == [10, 200, 30] for image in decoded)


def test_every_extension_is_one_that_pillow_reads() -> None:
    Image.init()

    assert set(Image.registered_extensions()) >= IMAGE_EXTENSIONS
    assert all(extension == extension.lower() and extension.startswith(".") for extension in IMAGE_EXTENSIONS)


def _is_readable(content: bytes, read: object) -> bool:
    assert callable(read)
    try:
        pixels: NDArray[np.uint8] | tuple[int, int] = read(content)
    except BadImageError:
        return False
    return len(pixels) > 0


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
