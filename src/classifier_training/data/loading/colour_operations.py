"""The colour operations of augmentation policies, on uint8 images in place, as Pillow and torchvision define them.

Those that treat each pixel alone are tables of 256 values for each channel. A blur takes neighbours as well, but moves
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from classifier_training.data.loading.policies import Operation

_Image = NDArray[np.uint8]
_LEVELS: Final = np.arange(256)
_CHANNEL_STARTS: Final = 256 * np.arange(3)
_WIDTH_IN_SIGMAS: Final = 3


def apply_colour_operations(operations: Iterable[Operation], square: _Image) -> None:
    """Changes the colours of an image; operations that move its pixels are passed over.

    Args:
        operations: What a policy sampled.
        square: uint8 (S, S, 3), changed.
    """
    for name, strength in operations:
        if name in _OPERATIONS:
            _OPERATIONS[name](square, strength)


def _brightness(square: _Image, strength: float) -> None:
    _look_up(square, _to_levels((1 + strength) * _LEVELS))


def _contrast(square: _Image, strength: float) -> None:
    mean = int(np.asarray(Image.fromarray(square).convert("L")).mean() + 0.5)
    _look_up(square, _to_levels(mean + (1 + strength) * (_LEVELS - mean)))


def _colour(square: _Image, strength: float) -> None:
    square[:] = np.asarray(ImageEnhance.Color(Image.fromarray(square)).enhance(1 + strength))


def _sharpness(square: _Image, strength: float) -> None:
    """Moves every pixel but those at the border away from the mean of its neighbourhood, or towards it."""
    values = square.astype(np.int16)
    columns = values[:-2] + values[1:-1] + values[2:]
    sums = columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:]
    inner = values[1:-1, 1:-1]
    smooth = (sums + 4 * inner).astype(np.float32) / np.float32(13)
    sharper = smooth + np.float32(1 + strength) * (inner - smooth)
    square[1:-1, 1:-1] = sharper.clip(0, 255)


def _gaussian_blur(square: _Image, sigma: float) -> None:
    """Replaces every pixel by a mean of its neighbours with Gaussian weights, first of its column, then of its row.

    The image is continued as in a mirror, and weights beyond three ``sigma`` pixels are left out. As sums of shifted
    images: a convolution of torch takes twice as long, and Pillow's filter is an approximation by boxes.
    """
    side = len(square)
    reach = min(math.ceil(_WIDTH_IN_SIGMAS * sigma), side - 1)
    if reach < 1:
        return
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    weights = (weights / (2 * weights.sum() - weights[0])).astype(np.float32)
    columns = np.pad(square.reshape(side, -1).astype(np.float32), ((reach, reach), (0, 0)), mode="reflect")
    middle = _weighted(columns, weights, 1).reshape(square.shape)
    rows = np.pad(middle, ((0, 0), (reach, reach), (0, 0)), mode="reflect").reshape(side, -1)
    square[:] = (_weighted(rows.T, weights, 3).T + np.float32(0.5)).reshape(square.shape)


def _weighted(lines: NDArray[np.float32], weights: NDArray[np.float32], step: int) -> NDArray[np.float32]:
    """The weighted sums of lines and of those ``step``, two times ``step``, … before and after them."""
    reach = len(weights) - 1
    start, stop = step * reach, len(lines) - step * reach
    sums: NDArray[np.float32] = weights[0] * lines[start:stop]
    for number in range(1, reach + 1):
        shift = step * number
        sums += weights[number] * (lines[start - shift : stop - shift] + lines[start + shift : stop + shift])
    return sums


def _posterize(square: _Image, strength: float) -> None:
    square &= np.uint8(256 - 2 ** (8 - int(strength)))


def _solarize(square: _Image, strength: float) -> None:
    square ^= np.uint8(255) * (square >= math.ceil(strength))


def _auto_contrast(square: _Image, strength: float) -> None:  # noqa: ARG001 - it has none
    rows = square.reshape(len(square), -1)
    lowest, highest = (side.reshape(-1, 3) for side in (rows.min(axis=0), rows.max(axis=0)))
    tables = []
    for low, high in zip(lowest.min(axis=0).tolist(), highest.max(axis=0).tolist(), strict=True):
        scale = 255 / (high - low) if high > low else 1.0
        tables.append(_to_levels(_LEVELS * scale - (low * scale if high > low else 0.0)))
    _look_up(square, np.concatenate(tables))


def _equalize(square: _Image, strength: float) -> None:  # noqa: ARG001 - it has none
    counts = np.array(Image.fromarray(square).histogram()).reshape(3, 256)
    _look_up(square, np.concatenate([_equalizing_table(channel) for channel in counts]))


def _equalizing_table(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 (256,): makes all levels about equally frequent."""
    step = int(counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
    if step == 0:
        return _LEVELS
    return ((step // 2 + np.cumsum(counts) - counts) // step).clip(0, 255)


def _to_levels(values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    return values.clip(0, 255).astype(np.int64)


def _look_up(square: _Image, table: NDArray[np.int64]) -> None:
    """Replaces every value by that of a table (256,), or of one for each channel, (768,)."""
    rows = square.reshape(len(square), -1)
    positions = rows if len(table) == len(_LEVELS) else rows + np.tile(_CHANNEL_STARTS, square.shape[1])
    np.take(table.astype(np.uint8), positions, out=rows, mode="clip")


_OPERATIONS: Final[dict[str, Callable[[_Image, float], None]]] = {
    "Brightness": _brightness,
    "Color": _colour,
    "Contrast": _contrast,
    "Sharpness": _sharpness,
    "GaussianBlur": _gaussian_blur,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "AutoContrast": _auto_contrast,
    "Equalize": _equalize,
}
