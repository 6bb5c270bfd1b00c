"""The images of a run that an export is proven on, as its trainer prepares and scores them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from classifier_training.config.schema import Config
from classifier_training.data.index.check import content_digest
from classifier_training.data.loading.dataset import EvaluationDataset
from classifier_training.data.loading.normalize import normalize_images
from classifier_training.data.splits.file import read_split
from classifier_training.data.splits.recorded import check_contents
from classifier_training.exporters.forms import OriginalImage, ProofImages
from classifier_training.exporters.proof import spread
from classifier_training.imaging.decode import read_image_bytes
from classifier_training.inference.card import DeploymentCard
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.folder import RunFolder

_AT_ONCE = 32


def proof_images(run: RunFolder, model: BaseClassificationModel, config: Config, card: DeploymentCard) -> ProofImages:
    """Images from all over the validation split, with their files.

    They come as the loader of an evaluation gives them, so the code that prepares them is not that of production.

    Args:
        run: The run.
        model: Its weights, on the CPU.
        config: Of the run; ``export.verification_images`` are taken, all where there are fewer.
        card: What the exported file is to know.

    Raises:
        DataError: The run has no validation images, or they have other contents now.
        BadImageError: One cannot be read.
    """
    samples = read_split(run.split, "val")
    positions = spread(len(samples), config.export.verification_images)
    chosen, recorded = [samples[position] for position in positions.tolist()], samples.digests[positions]
    contents = [read_image_bytes(sample.image) for sample in chosen]
    found = np.stack([content_digest(content) for content in contents])
    check_contents(f"the val split of {run.root}", chosen, recorded, found, "restore them, then export again")
    decoding = model.preprocessing.decoding
    if decoding.max_pixels is None:  # a checkpoint of version 0.1
        decoding = replace(decoding, max_pixels=config.data.max_image_pixels)
    index_of = {name: index for index, name in enumerate(model.classes)}
    labels = [index_of.get(sample.label) for sample in chosen]
    originals = [
        OriginalImage(sample.path, content, label)
        for sample, content, label in zip(chosen, contents, labels, strict=True)
    ]
    known = np.array([-1 if label is None else label for label in labels], np.int64)
    preprocessing = model.preprocessing.decoded_as(decoding)
    dataset = EvaluationDataset([sample.image for sample in chosen], known, preprocessing)
    batches = list(_batches(dataset))
    prepared = torch.cat([normalize_images(batch, preprocessing).contiguous() for batch in batches])
    return ProofImages(prepared, originals, card, _channels_last(torch.cat(batches)))


def _batches(dataset: EvaluationDataset) -> Iterator[Any]:
    """The images of a data set, uint8 (B, 3, S, S), as its loader gives them, without processes of its own."""
    for start in range(0, len(dataset), _AT_ONCE):
        yield dataset.__getitems__(range(start, min(start + _AT_ONCE, len(dataset))))["images"].contiguous()


def _channels_last(pixels: torch.Tensor) -> NDArray[np.uint8]:
    values: NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).numpy()
    return values
