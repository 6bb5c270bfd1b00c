"""The self-test of an exported file: small pictures inside the file, and what the file answered when it was made."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import BadImageError, CheckpointError, VerificationError

if TYPE_CHECKING:
    from classifier_training.inference.classifier import Classifier

TOLERANCE: Final = 1e-4
"""Largest difference of a probability where a file names none."""
_MAX_IMAGES: Final = 16
_MAX_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class SelfTestImage:
    """One picture and the answer to it.

    Attributes:
        jpeg: The bytes of the image file.
        label: The predicted class.
        probabilities: Of the K classes, in their order.
    """

    jpeg: bytes
    label: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What a file has to answer before it is trusted.

    Attributes:
        images: At least one.
        tolerance: Largest allowed difference of a probability.
    """

    images: Sequence[SelfTestImage]
    tolerance: float = TOLERANCE

    def to_dict(self) -> dict[str, Any]:
        """As the deployment card holds it; ready for JSON."""
        return {
            "tolerance": self.tolerance,
            "images": [
                {
                    "jpeg": base64.b64encode(image.jpeg).decode("ascii"),
                    "label": image.label,
                    "probabilities": [round(value, 7) for value in image.probabilities],
                }
                for image in self.images
            ],
        }


def read_self_test(values: Mapping[str, Any], classes: Sequence[str], source: str) -> SelfTest:
    """Reads what `SelfTest.to_dict` wrote.

    Args:
        values: The entry of the deployment card.
        classes: The class names of the card.
        source: The name of the file in error messages.

    Raises:
        CheckpointError: It holds something else.
    """
    images, tolerance = values.get("images"), values.get("tolerance", TOLERANCE)
    if not isinstance(images, list) or not 1 <= len(images) <= _MAX_IMAGES:
        raise CheckpointError(f"{source}: self_test in the metadata must have 1 to {_MAX_IMAGES} images")
    if not isinstance(tolerance, int | float) or not 0 < tolerance < 1:
        raise CheckpointError(f"{source}: the tolerance of self_test in the metadata is {tolerance!r:.40}")
    read = [_read_image(one, classes, f"{source}: picture {at} of self_test") for at, one in enumerate(images, 1)]
    return SelfTest(read, float(tolerance))


def _read_image(values: Any, classes: Sequence[str], where: str) -> SelfTestImage:
    values = values if isinstance(values, dict) else {}
    text, label, probabilities = (values.get(name) for name in ("jpeg", "label", "probabilities"))
    try:
        jpeg = base64.b64decode(text, validate=True) if isinstance(text, str) and len(text) <= _MAX_BYTES else b""
    except binascii.Error:
        jpeg = b""
    if not jpeg:
        raise CheckpointError(f"{where} in the metadata has no picture")
    if label not in classes:
        raise CheckpointError(f"{where} in the metadata has the label {label!r:.40}, which is not a class")
    is_valid = isinstance(probabilities, list) and len(probabilities) == len(classes)
    if not is_valid or not all(isinstance(one, int | float) and 0 <= one <= 1 for one in probabilities):
        raise CheckpointError(f"{where} in the metadata must have {len(classes)} probabilities")
    return SelfTestImage(jpeg, label, tuple(map(float, probabilities)))


def check_self_test(classifier: Classifier) -> int:
    """Lets a model classify the pictures in its file, which must give the recorded answers.

    A file without any has to give finite numbers for a made-up picture.

    Returns:
        How many pictures the file holds; 0 where it has none.

    Raises:
        VerificationError: An answer is another one: this machine decodes, prepares or computes otherwise than the one
            that made the file, or the file was changed.
        CheckpointError: The logits are not finite numbers.
    """
    path, recorded = classifier.path, classifier.card.self_test
    if recorded is None:
        classifier.predict_images([_made_up_picture()])
        return 0
    test = read_self_test(recorded, classifier.classes, str(path))
    for number, image in enumerate(test.images, 1):
        where = f"{path} fails its self-test on picture {number} of {len(test.images)}"
        advice = "export the run again on a machine like this one, and compare the versions of onnxruntime and Pillow"
        try:
            (found,) = classifier.predict_images([image.jpeg])
        except BadImageError as error:
            raise VerificationError(f"{where}: {error}") from None
        if found.label != image.label:
            raise VerificationError(f"{where}: it answers {found.label!r}, recorded is {image.label!r}; {advice}")
        difference = float(np.abs(np.subtract(found.probabilities, image.probabilities)).max())
        if not difference <= test.tolerance:
            raise VerificationError(
                f"{where}: a probability differs by {difference:.2g} from the recorded one ({test.tolerance:g} is"
                f" allowed); {advice}"
            )
    return len(test.images)


def _made_up_picture() -> NDArray[np.uint8]:
    """A gradient, uint8 (48, 64, 3)."""
    rows, columns, channels = np.indices((48, 64, 3))
    return np.asarray(rows * 5 + columns * 3 + channels * 40, np.uint8)
