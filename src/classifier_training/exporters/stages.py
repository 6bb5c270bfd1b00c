"""Where on its way from an image file to a label an exported file does something else than the trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import BadImageError
from classifier_training.exporters.forms import OriginalImage, ProofImages
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import normalize, resize_and_crop
from classifier_training.types import Preprocessing

SAME: Final = 1e-5
"""How far values of the same computation may differ: normalised pixels, probabilities."""
_OF_DECODING: Final = ("background", "integer_range", "max_image_pixels")
_OF_RESIZE: Final = ("image_size", "crop_pct", "interpolation")
_OF_NORMALISATION: Final = ("mean", "std")


class Difference(NamedTuple):
    """The stage at which an image is treated otherwise, and how.

    Attributes:
        stage: decode, resize, normalise, network, labels or decision.
        detail: What differs there, and by how much.
    """

    stage: str
    detail: str


def prepare(original: OriginalImage, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """What production makes of an image file, without torch: float32 (3, S, S).

    Raises:
        BadImageError: It cannot be decoded.
    """
    decoded = decode_image(original.content, original.name, decoding=preprocessing.decoding)
    return normalize(resize_and_crop(decoded, preprocessing), preprocessing)


def largest_difference(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The largest difference of two arrays of one shape; infinite where the shapes differ."""
    if found.shape != wanted.shape:
        return math.inf
    return float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max())


def difference_of_preparation(images: ProofImages, position: int, preprocessing: Preprocessing) -> Difference | None:
    """Which stage before the network prepares an image otherwise than the trainer's loader did; None: none.

    Args:
        images: What the trainer made of the images.
        position: Of the image.
        preprocessing: Of the exported file.
    """
    original, trained = images.originals[position], None if images.card is None else images.card.preprocessing
    try:
        decoded = decode_image(original.content, original.name, decoding=preprocessing.decoding)
    except BadImageError as error:
        return Difference("decode", str(error))
    if trained is not None and trained.decoding != preprocessing.decoding:
        found = difference_of_levels(decoded, decode_image(original.content, original.name, decoding=trained.decoding))
        if found:
            return Difference("decode", f"{found}; {_changed(preprocessing, trained, _OF_DECODING)}")
    cropped = resize_and_crop(decoded, preprocessing)
    pixels = None if images.pixels is None else images.pixels[position]
    if pixels is not None and largest_difference(cropped, pixels) > 0:
        return _before_the_crop(decoded, cropped, pixels, preprocessing, trained)
    wanted = images.prepared[position].numpy()
    largest = largest_difference(normalize(cropped, preprocessing), wanted)
    if largest <= SAME:
        return None
    if trained is not None and pixels is None and _changed(preprocessing, trained, _OF_RESIZE):
        return Difference("resize", _changed(preprocessing, trained, _OF_RESIZE))
    changed = "" if trained is None else _changed(preprocessing, trained, _OF_NORMALISATION)
    return Difference(
        "normalise", f"difference {largest:.3g}, {SAME:.3g} is allowed" + (f"; {changed}" * bool(changed))
    )


def turned_or_swapped(
    decoded: NDArray[np.uint8], resized: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], pixels: NDArray[np.uint8]
) -> Difference | None:
    """Whether other pixels are those of the same image with its channels exchanged, or turned another way.

    Args:
        decoded: uint8 (H, W, 3), as it should be.
        resized: The resize and the crop.
        pixels: uint8 (S, S, 3), as they are.
    """
    for what, variant in _variants(decoded):
        if largest_difference(resized(variant), pixels) <= 1:
            return Difference("decode", what)
    return None


def difference_of_network(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    prepared: NDArray[np.float32],
    expected: NDArray[np.float32],
    preprocessing: Preprocessing | None,
    tolerance: float,
) -> Difference:
    """What an exported network does with an image that is prepared as it should be, (3, S, S), and should not.

    Args:
        run: float32 (1, 3, S, S) to logits (1, K).
        prepared: The image.
        expected: float32 (K,), logits of the model.
        preprocessing: Of the file; None: not known.
        tolerance: Largest allowed difference of a logit.
    """
    found = run(prepared[None])[0]
    largest = largest_difference(found, expected)
    detail = f"difference of a logit {largest:.3g}, {tolerance:.3g} is allowed"
    if not math.isfinite(largest):
        return Difference("network", "a logit is not a finite number")
    if largest_difference(np.sort(found), np.sort(expected)) <= tolerance:
        return Difference("labels", f"{detail}: the logits are those of the model, in another order of the classes")
    for stage, what, other in _other_inputs(prepared, preprocessing):
        if largest_difference(run(other[None])[0], expected) <= tolerance:
            return Difference(stage, f"{detail}: {what}")
    return Difference("network", detail)


def difference_of_levels(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> str:
    """How two images differ, human-readable; empty where they do not."""
    if found.shape != wanted.shape:
        return f"{_size(found)} pixels instead of {_size(wanted)}"
    largest = largest_difference(found, wanted)
    return f"difference {largest:.0f} grey levels, 0 are allowed" if largest else ""


def _before_the_crop(
    decoded: NDArray[np.uint8],
    cropped: NDArray[np.uint8],
    pixels: NDArray[np.uint8],
    preprocessing: Preprocessing,
    trained: Preprocessing | None,
) -> Difference:
    """The stage that gave other pixels (S, S, 3) than the trainer's."""
    resized_as_trained = trained or preprocessing
    found = turned_or_swapped(decoded, lambda image: resize_and_crop(image, resized_as_trained), pixels)
    if found is not None:
        return found
    detail = difference_of_levels(cropped, pixels)
    changed = "" if trained is None else _changed(preprocessing, trained, _OF_RESIZE)
    return Difference("resize", f"{detail}; {changed}" if changed else detail)


def _variants(decoded: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """An image as it comes out where its decoding goes wrong."""
    yield "red and blue are exchanged", np.ascontiguousarray(decoded[:, :, ::-1])
    upright = "the image is turned or mirrored: its EXIF orientation is treated otherwise"
    for number in range(1, 8):
        turned = np.rot90(decoded, number % 4)
        yield upright, np.ascontiguousarray(turned[:, ::-1] if number >= 4 else turned)


def _other_inputs(
    prepared: NDArray[np.float32], preprocessing: Preprocessing | None
) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
    """Inputs for which an exported network may have been built by mistake."""
    yield "network", "it takes blue, green, red", np.ascontiguousarray(prepared[::-1])
    if preprocessing is None:
        return
    mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    share = prepared * std + mean
    yield "normalise", "it takes values in [0, 1] that are not normalised", share
    yield "normalise", "it takes values in [0, 255] that are not normalised", share * 255
    yield "normalise", "its network gets values that are not normalised", (prepared - mean) / std


def _changed(found: Preprocessing, wanted: Preprocessing, names: tuple[str, ...]) -> str:
    """Which of these values the file has otherwise than the trainer, human-readable."""
    values = ((name, getattr(found, name), getattr(wanted, name)) for name in names)
    return ", ".join(f"{name} is {one} in the file, {other} in training" for name, one, other in values if one != other)


def _size(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
