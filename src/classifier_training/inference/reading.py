"""The steps of a prediction before the model: an image becomes its input, or an error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import ImageSource, decode_image, is_in_memory
from classifier_training.imaging.preprocess import normalize
from classifier_training.imaging.views import make_views
from classifier_training.types import Preprocessing, TestTimeAugmentation

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Way:
    """How images become logits: their preprocessing and views, without the temperature, with further outputs."""

    preprocessing: Preprocessing
    tta: TestTimeAugmentation = "none"
    raw: bool = False
    further: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the model gives for a batch.

    Attributes:
        names: What messages call the images.
        errors: By their places in the batch, those that cannot be read.
        outputs: By their names, float32 (n, …), of the others in order; empty where there are no others.
    """

    names: list[str]
    errors: dict[int, BadImageError]
    outputs: dict[str, NDArray[np.float32]]


def check_arguments(batch_size: int, on_bad_image: str) -> None:
    """Refuses arguments that no program should give.

    Raises:
        ValueError: One is impossible.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    if on_bad_image not in {"raise", "skip"}:
        raise ValueError(f"on_bad_image must be 'raise' or 'skip'; got {on_bad_image!r}")


def report_skip(error: BadImageError, name: str, on_skip: Callable[[str, BadImageError], None] | None) -> None:
    """Tells of an image that is left out."""
    if on_skip is None:
        _logger.warning("left out: %s", error)
    else:
        on_skip(name, error)


def image_name(source: ImageSource, position: int) -> str:
    """What an error calls an image."""
    return f"images[{position}]" if is_in_memory(source) else str(source)


def read_views(
    source: ImageSource, name: str, preprocessing: Preprocessing, tta: TestTimeAugmentation | None
) -> list[NDArray[Any]] | BadImageError:
    """The views of an image as the model's input, float32 (3, S, S), or the error that it gave.

    Where ``tta`` is None, the one view is the decoded image, uint8 (H, W, 3).
    """
    try:
        image = decode_image(source, name, decoding=preprocessing.decoding)
        if tta is None:
            return [image]
        return [normalize(view, preprocessing) for view in make_views(image, preprocessing, tta)]
    except BadImageError as error:
        return error
