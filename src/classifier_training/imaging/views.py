"""Test-time augmentation: several views of an image, and one prediction from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import ConfigError
from classifier_training.imaging.preprocess import CENTRE, Place, crop_at, resize_and_cut
from classifier_training.types import NUM_VIEWS, Preprocessing, TestTimeAugmentation

_FIVE: Final[tuple[Place, ...]] = (CENTRE, (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))


def make_views(
    image: NDArray[np.uint8], preprocessing: Preprocessing, tta: TestTimeAugmentation, *, is_resized: bool = False
) -> list[NDArray[np.uint8]]:
    """The views of an image, of one resize: first the centre, which is what is scored without augmentation.

    ``flip`` adds its mirror image, ``five`` the four corners of the resized image: torchvision's ``FiveCrop``.

    Args:
        image: uint8 (H, W, 3), RGB.
        preprocessing: The model's.
        tta: Which views.
        is_resized: Whether the image is what `preprocess.resize` gives.

    Returns:
        V of uint8 (S, S, 3), see `NUM_VIEWS`.
    """
    places = _FIVE if tta == "five" else (CENTRE,)
    if is_resized:
        views = [crop_at(image, preprocessing, place) for place in places]
    else:
        views = resize_and_cut(image, preprocessing, places)
    return [*views, views[0][:, ::-1]] if tta == "flip" else views


def log_mean_probabilities(logits: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.float32]:
    """The logarithm of the mean of the views' probabilities, log(1/V Σ_v softmax(z_v)): logits of this mean.

    Args:
        logits: V of float (N, K), the logits z_v of each view.

    Returns:
        float32 (N, K); the logits themselves for one view.
    """
    if len(logits) == 1:
        return logits[0].astype(np.float32, copy=False)
    views = np.stack(logits).astype(np.float64)
    views -= views.max(axis=2, keepdims=True)
    views -= np.log(np.exp(views).sum(axis=2, keepdims=True))
    largest: NDArray[np.float64] = views.max(axis=0)
    means: NDArray[np.float64] = largest + np.log(np.exp(views - largest).mean(axis=0))
    return means.astype(np.float32)


def describe_tta(tta: TestTimeAugmentation) -> str:
    """How predictions came about, to be appended to what they are of; empty without augmentation."""
    return "" if tta == "none" else f", with test-time augmentation {tta}: {NUM_VIEWS[tta]} × the time"


def check_tta(tta: str) -> None:
    """Refuses another word than those of `TestTimeAugmentation`.

    Raises:
        ConfigError: It is another one.
    """
    if tta not in NUM_VIEWS:
        raise ConfigError(f"tta={tta!r:.80}: unknown test-time augmentation; allowed: {', '.join(NUM_VIEWS)}")
