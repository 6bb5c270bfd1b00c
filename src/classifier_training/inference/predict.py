"""`predict`: what is on these images? Needs numpy, Pillow and onnxruntime only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from classifier_training.errors import BadImageError
from classifier_training.imaging.views import check_tta
from classifier_training.inference.classifier import BATCH_SIZE, Classifier
from classifier_training.inference.given import AnyImage, given_images
from classifier_training.inference.session import onnx_file
from classifier_training.types import OnBadImage, Prediction, TestTimeAugmentation


def predict(
    model: str | os.PathLike[str],
    images: AnyImage | Iterable[AnyImage],
    *,
    batch_size: int = BATCH_SIZE,
    on_bad_image: OnBadImage = "raise",
    on_skip: Callable[[str, BadImageError], None] | None = None,
    tta: TestTimeAugmentation = "none",
) -> list[Prediction]:
    """Predicts the class of images with an exported model.

    Args:
        model: A run folder (its ``export/model.onnx``) or an ``.onnx`` file.
        images: Image files, folders of them, patterns such as ``photos/*.jpg``, bytes of image files, PIL images,
            arrays, or a list of any of these. An array is uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint16
            (H, W), or has one more dimension in front for several images. All are decoded alike: EXIF orientation,
            transparency and depth are handled.
        batch_size: Images per run of the model.
        on_bad_image: ``raise`` stops at a file that is not an image; ``skip`` leaves it out.
        on_skip: Called with the path and the error of a file left out; None logs a warning.
        tta: Test-time augmentation: ``flip`` takes the mean probability of an image and of its mirror image, in twice
            the time, ``five`` that of its centre and its four corners, in five times the time.

    Returns:
        One prediction an image, in order.

    Raises:
        UserError: The model or an image cannot be used.

    Example:
        >>> predict("runs/shirts", ["shirt.jpg"])[0].label  # doctest: +SKIP
    """
    check_tta(tta)
    classifier = Classifier(onnx_file(Path(model)))
    return list(classifier.predict_files(given_images(images), batch_size, on_bad_image, on_skip, tta))
