"""Puts small pictures and the answers to them into an exported ONNX file, for its self-test."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import onnx
from PIL import Image

from classifier_training.exporters.forms import OriginalImage
from classifier_training.imaging.decode import decode_image
from classifier_training.inference.classifier import Classifier
from classifier_training.inference.self_test import TOLERANCE, SelfTest, SelfTestImage, check_self_test

MAX_SIDE: Final = 256
"""Of a picture in the file, pixels."""
_QUALITY: Final = 85
_NUM_CANDIDATES: Final = 12
_TOLERANCES: Final = {"fp16": 5e-3, "int8": 5e-2}
"""Largest difference of a probability, where the kernels of a form round otherwise on other CPUs."""


def store_self_test(path: Path, originals: Sequence[OriginalImage], num_images: int, form: str) -> dict[str, str]:
    """Adds the entry ``self_test`` to the metadata of an ONNX file with a deployment card; see `SelfTest`.

    Of some images all over ``originals``, those are taken that the file is most certain of, of different classes
    first. The pictures are encoded anew and made smaller: nothing else of the files, such as where a photo was taken,
    travels along.

    Args:
        path: The file.
        originals: Image files of the validation split; without any nothing is stored.
        num_images: How many pictures; 0 stores none.
        form: The form of the file.

    Returns:
        The ``sha256`` of the file, where it was changed; its network is as before.

    Raises:
        VerificationError: The file does not pass the test.
    """
    if not originals or not num_images:
        return {}
    chosen = _choose(_answered(Classifier(path), originals, max(_NUM_CANDIDATES, num_images)), num_images)
    test = SelfTest(chosen, _TOLERANCES.get(form, TOLERANCE))
    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key, entry.value = "self_test", json.dumps(test.to_dict(), ensure_ascii=False)
    onnx.save(model, str(path))
    check_self_test(Classifier(path))
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _answered(classifier: Classifier, originals: Sequence[OriginalImage], num_candidates: int) -> list[SelfTestImage]:
    answered = []
    for original in originals[:: max(1, len(originals) // num_candidates)][:num_candidates]:
        jpeg = _small_jpeg(original, classifier)
        (prediction,) = classifier.predict_images([jpeg])
        answered.append(SelfTestImage(jpeg, prediction.label, prediction.probabilities))
    return answered


def _choose(answered: list[SelfTestImage], num_images: int) -> list[SelfTestImage]:
    """The most certain answers, of different classes first."""
    by_certainty = sorted(answered, key=lambda image: max(image.probabilities), reverse=True)
    labels = [image.label for image in by_certainty]
    ranks = [labels[:position].count(label) for position, label in enumerate(labels)]
    order = sorted(range(len(labels)), key=lambda position: (ranks[position], position))
    return [by_certainty[position] for position in order[:num_images]]


def _small_jpeg(original: OriginalImage, classifier: Classifier) -> bytes:
    decoded = decode_image(original.content, original.name, decoding=classifier.preprocessing.decoding)
    image = Image.fromarray(decoded)
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
