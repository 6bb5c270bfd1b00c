"""The cheap check and the decoders agree about every odd file, so that training and prediction read the same ones."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import check_image, decode_image
from classifier_training.imaging.jpeg import EncodedImage

SIZES = [*((side, side) for side in range(1, 21)), (1, 20), (20, 1), (3, 17), (16, 7)]
FORMATS: list[tuple[str, list[str], list[dict[str, object]]]] = [
    ("JPEG", ["L", "RGB", "CMYK"], [{}, {"progressive": True}, {"quality": 90, "subsampling": 0}]),
    ("PNG", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"], [{}]),
    ("GIF", ["P"], [{}]),
    ("BMP", ["1", "L", "RGB", "RGBA"], [{}]),
    ("TIFF", ["1", "L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"], [{}]),
    ("TIFF", ["L", "RGB"], [{"compression": "tiff_lzw"}, {"compression": "jpeg"}]),
    ("WEBP", ["RGB", "RGBA"], [{}]),
    ("PPM", ["1", "L", "RGB"], [{}]),
    ("JPEG2000", ["L", "RGB"], [{}]),
]


def image_of(mode: str, size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    width, height = size
    if mode in {"I;16", "I", "F"}:
        values = random.integers(0, 60_000, (height, width))
        return Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    pixels = random.integers(0, 256, (height, width, 4), dtype=np.uint8)
    if mode == "LAB":
        return Image.frombytes("LAB", size, pixels[..., :3].tobytes())
    return (
        Image.fromarray(pixels).convert(mode)
        if mode in {"RGBA", "LA"}
        else Image.fromarray(pixels[..., :3]).convert(mode)
    )


def odd_files(name: str, modes: list[str], options: list[dict[str, object]]) -> Iterator[bytes]:
    """Whole files of all sizes, some of them cut off or changed."""
    random = np.random.default_rng(len(name))
    for mode, option, (number, size) in itertools.product(modes, options, enumerate(SIZES)):
        file = io.BytesIO()
        image_of(mode, size, random).save(file, name, **option)
        content = file.getvalue()
        yield content
        damages = [content[:-1], content[:-2], content[: len(content) // 2], content[: len(content) * 3 // 4]]
        changed = bytearray(content)
        changed[int(random.integers(len(content) // 3, len(content)))] ^= 0x55
        yield from [*damages, bytes(changed)] if number % 4 == 0 else [damages[number % 4], bytes(changed)]


def outcome(read: Callable[[bytes], tuple[int, int]], content: bytes) -> tuple[int, int] | str:
    try:
        return read(content)
    except BadImageError as error:
        return str(error)


def size_of(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    return pixels.shape[1], pixels.shape[0]


@pytest.mark.parametrize(
    ("name", "modes", "options"), FORMATS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_check_refuses_what_the_decoders_refuse(
    name: str, modes: list[str], options: list[dict[str, object]]
) -> None:
    outcomes = set()
    for content in odd_files(name, modes, options):
        whole = outcome(lambda data: size_of(decode_image(data)), content)
        checked = outcome(lambda data: check_image(data).size, content)
        training = outcome(lambda data: size_of(EncodedImage(data, f"image of {len(data)} bytes").decode()), content)
        assert (checked, training) == (whole, whole)
        outcomes.add(isinstance(whole, str))
    assert outcomes == {True, False}  # some are refused, some are not


@pytest.mark.parametrize("side", range(1, 9))
def test_a_jpeg_of_fewer_than_eight_pixels_is_an_image(side: int) -> None:
    file = io.BytesIO()
    Image.new("RGB", (side, 20), (10, 200, 30)).save(file, "JPEG")

    assert check_image(file.getvalue()).size == (side, 20)
