"""Training images that calibrate a quantised model, prepared as evaluation prepares images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from classifier_training.data.index.check import content_digest
from classifier_training.data.splits.file import read_split
from classifier_training.data.splits.recorded import check_contents
from classifier_training.exporters.forms import CalibrationImages
from classifier_training.imaging.decode import decode_image, read_image_bytes
from classifier_training.imaging.preprocess import preprocess
from classifier_training.run.folder import RunFolder
from classifier_training.types import Preprocessing


def calibration_images(
    run: RunFolder, preprocessing: Preprocessing, max_pixels: int
) -> Callable[[int], CalibrationImages]:
    """Reads as many training images of a run as are asked for, as equally many of each class as there are.

    ``max_pixels`` is the limit of an image where the preprocessing has none, as that of version 0.1.

    Raises:
        BadImageError: A file is gone or no longer an image.
        DataError: One has another content than in the training, or the run does not say which images it trained on.
    """

    def read(num_images: int) -> CalibrationImages:
        samples = read_split(run.split, "train")
        chosen = spread_over_classes([sample.label for sample in samples], num_images)
        images = [samples[position] for position in chosen]
        contents = [read_image_bytes(sample.image) for sample in images]
        found = np.stack([content_digest(content) for content in contents])
        what = f"the train split of {run.root}"
        check_contents(what, images, samples.digests[chosen], found, "restore them, then export again")
        decoding = replace(preprocessing.decoding, max_pixels=preprocessing.decoding.max_pixels or max_pixels)
        prepared = [
            preprocess(decode_image(content, sample.path, decoding=decoding), preprocessing)
            for content, sample in zip(contents, images, strict=True)
        ]
        return CalibrationImages(np.stack(prepared), hashlib.sha256(found.tobytes()).hexdigest())

    return read


def spread_over_classes(labels: Sequence[str], count: int) -> list[int]:
    """Positions of ``count`` of N images, ascending: the same number of each class, as far as a class has so many.

    Which of a class is random and depends on N alone.
    """
    order = np.random.default_rng(0).permutation(len(labels)).tolist()
    seen = dict[str, int]()
    ranked = list[tuple[int, int]]()
    for place, position in enumerate(order):
        rank = seen.get(labels[position], 0)
        seen[labels[position]] = rank + 1
        ranked.append((rank, place))
    return sorted(order[place] for _, place in sorted(ranked)[:count])
