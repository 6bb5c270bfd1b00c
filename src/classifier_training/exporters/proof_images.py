"""The images of a run that an export is proven on, as its trainer prepares and scores them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from classifier_training.config.schema import Config
from classifier_training.data.index.check import content_digest
from classifier_training.data.loading.dataset import EvaluationDataset
from classifier_training.data.loading.normalize import normalize_images
from classifier_training.data.splits.file import read_paths, read_split
from classifier_training.data.splits.recorded import RecordedImages, check_contents
from classifier_training.errors import BadImageError, DataError, explain_out_of_memory
from classifier_training.exporters.calibration_images import calibration_images
from classifier_training.exporters.forms import OriginalImage, ProofImages
from classifier_training.exporters.proof import logits_of_model, spread
from classifier_training.imaging.decode import read_image_bytes
from classifier_training.inference.card import DeploymentCard
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.folder import RunFolder
from classifier_training.types import Preprocessing, Sample

_AT_ONCE = 32
_NO_PROOF: Final = "on which an exported file is proven: restore them, or export it unproven with --unproven"


Scored = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Of each batch of a split the logits, float32 (B, K), and the labels, int64 (B,)."""


def proof_images(
    run: RunFolder,
    model: BaseClassificationModel,
    config: Config,
    card: DeploymentCard,
    scored: Scored | None = None,
) -> ProofImages:
    """Images from all over the validation split, with their files.

    They come as the loader of an evaluation gives them, whose code is not that of production.

    Args:
        run: The run.
        model: On the CPU.
        config: Of the run; ``export.verification_images`` are taken, all where there are fewer.
        card: What the exported file is to know.
        scored: What the trainer has scored of all validation images, in float32 on a CPU; None: the model does it now.

    Raises:
        DataError: The run has no validation images, they cannot be read, or they have other contents now.
    """
    samples = _validation_images(run)
    positions = spread(len(samples), config.export.verification_images)
    chosen, recorded = [samples[position] for position in positions.tolist()], samples.digests[positions]
    contents = _contents(chosen)
    found = np.stack([content_digest(content) for content in contents])
    check_contents(f"the val split of {run.root}", chosen, recorded, found, "restore them, then export again")
    number = {name: index for index, name in enumerate(model.classes)}
    labels = np.array([number.get(sample.label, -1) for sample in chosen], np.int64)
    originals = [
        OriginalImage(sample.path, content, None if label < 0 else label)
        for sample, content, label in zip(chosen, contents, labels.tolist(), strict=True)
    ]
    pixels, prepared = _loaded(chosen, labels, model.preprocessing, config.data.max_image_pixels)
    logits = None if scored is None else _scored_logits(scored, positions, labels, len(samples))
    calibration = calibration_images(run, model.preprocessing, config.data.max_image_pixels)
    images = ProofImages(prepared, originals, card, pixels, logits, calibration)
    advice = f"lower export.verification_images (now {config.export.verification_images})"
    with explain_out_of_memory(f"scoring validation images of {run.root}", advice):
        return replace(images, logits=logits_of_model(model, images))


def _loaded(
    samples: Sequence[Sample], labels: NDArray[np.int64], preprocessing: Preprocessing, max_pixels: int
) -> tuple[NDArray[np.uint8], torch.Tensor]:
    """What the loader of an evaluation gives: uint8 (n, S, S, 3), and float32 (n, 3, S, S) as the model gets it.

    ``max_pixels`` is the limit of images where the preprocessing has none, as that of version 0.1.
    """
    decoding = preprocessing.decoding
    decoding = replace(decoding, max_pixels=decoding.max_pixels or max_pixels)
    preprocessing = preprocessing.decoded_as(decoding)
    dataset = EvaluationDataset([sample.image for sample in samples], labels, preprocessing)
    batches = list(_batches(dataset))
    prepared = torch.cat([normalize_images(batch, preprocessing).contiguous() for batch in batches])
    pixels: NDArray[np.uint8] = torch.cat(batches).permute(0, 2, 3, 1).numpy()
    return pixels, prepared


def _validation_images(run: RunFolder) -> RecordedImages:
    try:
        return read_split(run.split, "val")
    except DataError as error:
        if run.split.is_file() and not any(read_paths(run.split, "val")):
            raise DataError(f"{run.root} has no validation images, {_NO_PROOF}") from None
        raise DataError(f"{error}; {_NO_PROOF}") from None


def _contents(samples: Sequence[Sample]) -> list[bytes]:
    try:
        return [read_image_bytes(sample.image) for sample in samples]
    except BadImageError as error:
        raise DataError(f"{error}; it is one of the validation images, {_NO_PROOF}") from None


def _scored_logits(
    scored: Scored, positions: NDArray[np.int64], labels: NDArray[np.int64], num_images: int
) -> NDArray[np.float32] | None:
    """The logits (n, K) of the images at some positions; None where others were scored than the run has recorded."""
    truth = np.concatenate([part.numpy() for _, part in scored])
    if len(truth) != num_images or (truth[positions] != labels).any():
        return None
    logits: NDArray[np.float32] = np.concatenate([part.numpy() for part, _ in scored])[positions]
    return logits


def _batches(dataset: EvaluationDataset) -> Iterator[Any]:
    """The images of a data set, uint8 (B, 3, S, S), as its loader gives them, without processes of its own."""
    for start in range(0, len(dataset), _AT_ONCE):
        yield dataset.__getitems__(range(start, min(start + _AT_ONCE, len(dataset))))["images"].contiguous()
