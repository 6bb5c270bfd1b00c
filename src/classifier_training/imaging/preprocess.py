"""The one evaluation preprocessing: from upright RGB to the model's input, in numpy and Pillow.

It gives what torchvision's ``Resize``, ``CenterCrop``, ``ToTensor`` and ``Normalize`` give on a PIL image, which
is also what timm evaluates its pretrained weights with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier_training.types import Preprocessing

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Beyond this ratio of the sides, only the part that the crop needs is resized: the whole of an image of
# 1 x 10,000 pixels would take gigabytes.
_MAX_WHOLE_RATIO = 16
# The widest filter (Lanczos) looks 3 pixels far: of the output when it shrinks, of the source when it enlarges.
_FILTER_REACH = 3
Place = tuple[float, float]
"""Where a square lies in the resized image, from its left and upper edge, 0, to its right and lower edge, 1."""
CENTRE: Final[Place] = (0.5, 0.5)


def preprocess(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Makes the model's input from an upright RGB image.

    Args:
        image: uint8 (H, W, 3), RGB.
        preprocessing: What the model was trained with.

    Returns:
        float32 (3, S, S), RGB, normalised, C-contiguous.
    """
    return normalize(resize_and_crop(image, preprocessing), preprocessing)


def resize_and_crop(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resizes the shorter side to ``preprocessing.resize_size`` and cuts out the centre square.

    Args:
        image: uint8 (H, W, 3), RGB.
        preprocessing: Size, crop share and filter.

    Returns:
        uint8 (S, S, 3).
    """
    (square,) = resize_and_cut(image, preprocessing, (CENTRE,))
    return square


def resize_and_cut(
    image: NDArray[np.uint8], preprocessing: Preprocessing, places: Sequence[Place]
) -> list[NDArray[np.uint8]]:
    """`resize_and_crop` with squares at other places: one uint8 (S, S, 3) each, of one resize."""
    if can_be_resized_whole(image):
        resized = resize(image, preprocessing)
        return [crop_at(resized, preprocessing, place) for place in places]
    size, side = _resized_size(image, preprocessing), preprocessing.image_size
    source, resampling = Image.fromarray(image), _FILTERS[preprocessing.interpolation]
    return [_resize_strip(source, size, _crop_offset(size, side, place), side, resampling) for place in places]


def can_be_resized_whole(image: NDArray[np.uint8]) -> bool:
    """Whether the sides of an image (H, W, 3) differ so little that `resize` may be called."""
    short, long = sorted(image.shape[:2])
    return bool(long <= _MAX_WHOLE_RATIO * short)


def resize(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The first half of `resize_and_crop`, for an image for which `can_be_resized_whole` holds.

    Returns:
        uint8 (h, w, 3), its shorter side of ``preprocessing.resize_size``.
    """
    size = _resized_size(image, preprocessing)
    return np.asarray(Image.fromarray(image).resize(size, _FILTERS[preprocessing.interpolation]))


def center_crop(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The second half of `resize_and_crop`: uint8 (S, S, 3), a copy, of what `resize` gave."""
    return crop_at(image, preprocessing, CENTRE)


def crop_at(image: NDArray[np.uint8], preprocessing: Preprocessing, place: Place) -> NDArray[np.uint8]:
    """The square at a place: uint8 (S, S, 3), a copy, of what `resize` gave."""
    side = preprocessing.image_size
    left, top = _crop_offset((image.shape[1], image.shape[0]), side, place)
    return np.array(image[top : top + side, left : left + side])


def normalize(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Scales to [0, 1], subtracts the mean and divides by the standard deviation, channels first.

    Args:
        image: uint8 (H, W, 3), RGB.
        preprocessing: Mean and standard deviation.

    Returns:
        float32 (3, H, W), C-contiguous.
    """
    mean = np.asarray(preprocessing.mean, np.float32).reshape(3, 1, 1)
    std = np.asarray(preprocessing.std, np.float32).reshape(3, 1, 1)
    values = np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
    values /= np.float32(255)
    values -= mean
    values /= std
    return values


def _resized_size(image: NDArray[np.uint8], preprocessing: Preprocessing) -> tuple[int, int]:
    """Width and height after the resize."""
    height, width = image.shape[:2]
    short = preprocessing.resize_size
    long = int(short * max(height, width) / min(height, width))
    return (short, long) if width <= height else (long, short)


def _crop_offset(size: tuple[int, int], side: int, place: Place) -> tuple[int, int]:
    """Left and top of a square."""
    # Python's round is half-to-even, as in torchvision's center_crop.
    return round((size[0] - side) * place[0]), round((size[1] - side) * place[1])


def _resize_strip(
    source: Image.Image,
    new_size: tuple[int, int],
    offset: tuple[int, int],
    side: int,
    resampling: Image.Resampling,
) -> NDArray[np.uint8]:
    """The same crop of the same resize, computed from the part of the source that it depends on.

    Pillow chooses the order of rows and columns by the size of what it is given, so it is chosen here for the whole.
    """
    scales = [old / new for old, new in zip(source.size, new_size, strict=True)]
    margins = [math.ceil(_FILTER_REACH * max(1.0, 1.0 / scale)) + 1 for scale in scales]
    starts = [max(0, start - margin) for start, margin in zip(offset, margins, strict=True)]
    stops = [min(size, start + side + margin) for size, start, margin in zip(new_size, offset, margins, strict=True)]
    width, height = (stop - start for start, stop in zip(starts, stops, strict=True))
    left, right = starts[0] * scales[0], stops[0] * scales[0]
    upper, lower = starts[1] * scales[1], stops[1] * scales[1]
    if are_rows_first(source.size, new_size):
        resized = source.resize((source.width, height), resampling, box=(0, upper, source.width, lower))
        resized = resized.resize((width, height), resampling, box=(left, 0, right, height))
    else:
        first, last = math.floor(upper), min(source.height, math.ceil(lower))
        rows = source.crop((0, first, source.width, last))
        resized = rows.resize((width, rows.height), resampling, box=(left, 0, right, rows.height))
        resized = resized.resize((width, height), resampling, box=(0, upper - first, width, min(lower, last) - first))
    corner = offset[0] - starts[0], offset[1] - starts[1]
    return np.array(resized.crop((*corner, corner[0] + side, corner[1] + side)))


def are_rows_first(size: tuple[int, int], new_size: tuple[int, int]) -> bool:
    """Whether Pillow resizes the rows of an image before its columns; sizes are width and height.

    Between the two, values are rounded and cut to [0, 255], so the order counts.
    """
    width, height = (old - new for old, new in zip(size, new_size, strict=True))
    return tall_images_shrink_first() and height > max(0, 2 * width)


@cache
def tall_images_shrink_first() -> bool:
    """Whether this Pillow resizes rows before columns where the height loses more than twice what the width does.

    Older ones always begin with columns.
    """
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 20, 3), dtype=np.uint8))
    whole = image.resize((19, 57), Image.Resampling.BICUBIC)
    rows_first = image.resize((20, 57), Image.Resampling.BICUBIC).resize((19, 57), Image.Resampling.BICUBIC)
    return whole.tobytes() == rows_first.tobytes()
