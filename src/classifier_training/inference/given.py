"""Images as a program gives them: files, folders, bytes, PIL images, arrays, one or many."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier_training.errors import DataError
from classifier_training.imaging.decode import ImageSource
from classifier_training.inference.listing import find_images

AnyImage = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any]
"""A file, folder or pattern, the bytes of an image file, a PIL image, or an array as of `predict`."""
_ALLOWED: Final = "give a path, a PIL image, an array (uint8 or uint16), the bytes of an image file, or a list of these"
_logger = logging.getLogger(__name__)


def given_images(
    images: AnyImage | Iterable[AnyImage], on_ignored: Callable[[str], None] = _logger.warning
) -> list[ImageSource]:
    """The images one by one, those in folders and of patterns among them.

    Args:
        images: One image or many.
        on_ignored: Called with a warning about files in a folder that are not read.

    Raises:
        DataError: One is of a type that is not an image, does not exist, or there is none at all.
    """
    is_one = isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)
    is_one = is_one or (isinstance(images, np.ndarray) and images.ndim in {2, 3})
    if not is_one and not isinstance(images, Iterable):
        raise DataError(f"images={images!r:.80} is not an image: {_ALLOWED}")
    given: list[Any] = [images] if is_one else list(cast("Iterable[Any]", images))
    paths = [image for image in given if isinstance(image, str | os.PathLike)]
    if len(paths) == len(given):
        return list(find_images(paths, on_ignored))
    found: list[ImageSource] = []
    for position, image in enumerate(given):
        if isinstance(image, str | os.PathLike):
            found += find_images([image], on_ignored)
        elif isinstance(image, bytes | bytearray | memoryview):
            found.append(bytes(image))
        elif isinstance(image, Image.Image | np.ndarray):
            found.append(image)
        else:
            raise DataError(f"images[{position}]={image!r:.80} is not an image: {_ALLOWED}")
    return found
