"""Computes the features of images with a model's backbone; what is in a table is not computed again."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from classifier_training.data.loading.dataset import ImageDataset
from classifier_training.data.loading.failures import explain_loader_failures
from classifier_training.data.loading.loaders import BatchLoader, loader_options
from classifier_training.data.loading.normalize import normalize_batch
from classifier_training.errors import OutOfMemoryError, explain_out_of_memory, first_line
from classifier_training.features.table import FeatureTable
from classifier_training.features.views import View
from classifier_training.metrics.scores import check_finite
from classifier_training.models.attention import repeatable_attention
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.head_features import backbone_features, linear_classifier, weights_hash
from classifier_training.models.precision import arithmetic
from classifier_training.types import ClassificationBatch, ImageRecord, Progress

_MOST_AT_ONCE = {"cpu": 32}
"""Images in a batch at most: more are not faster on a CPU, and other numbers of them change the last bits."""
_MOST_ON_GPU = 256
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Extraction:
    """How and where features are computed and kept.

    Attributes:
        device: Where to compute.
        batch_size: Images in a batch, at most.
        num_workers: Loader processes; None: by CPU count.
        cache: The cache folder; None: features are not kept.
        limit: ``data.copies_limit``, bytes; None: a share of what is free.
        photos: Of which photos they are, for people who ask what the cache folder holds.
        progress: Called with the number of images so far and in all.
        check_stop: Called after each batch, and may raise to stop.
    """

    device: torch.device = CPU
    batch_size: int = 32
    num_workers: int | None = None
    cache: Path | None = None
    limit: int | None = None
    photos: str = ""
    progress: Progress | None = None
    check_stop: Callable[[], None] = lambda: None

    @property
    def num_at_once(self) -> int:
        """Images in every batch; a last one that is shorter is filled up, so that the same kernels compute it."""
        return min(self.batch_size, most_at_once(self.device.type))


def most_at_once(accelerator: str) -> int:
    """Images in a batch at most, on a kind of device."""
    return _MOST_AT_ONCE.get(accelerator, _MOST_ON_GPU)


def extract(
    model: BaseClassificationModel,
    records: Sequence[ImageRecord],
    digests: NDArray[np.uint8],
    *,
    view: View,
    how: Extraction,
) -> NDArray[np.float32]:
    """The features of images: what the head of the model gets, in exact float32.

    On a CPU they depend on the image alone, and not on which other ones are computed with it.

    Letters: N images, D features.

    Args:
        model: Whose backbone computes them.
        records: The images.
        digests: uint8 (N, 16), their content hashes; images of one hash are computed once.
        view: How the images are prepared.
        how: How and where.

    Returns:
        float32 (N, D), which may be read-only memory of a file.

    Raises:
        ModelError: The backbone gives no features that a linear layer takes.
        CheckpointError: They are not finite numbers.
        OutOfMemoryError: The device has not enough memory for one image.
    """
    while True:
        try:
            return _extract(model, records, digests, view, how)
        except OutOfMemoryError:
            if how.num_at_once == 1:
                raise
        smaller = how.num_at_once // 2
        failed = f"out of memory while computing features of {how.num_at_once} images at once"
        warnings.warn(f"{failed}: starting over with {smaller} at once, which changes no score", stacklevel=2)
        how = replace(how, batch_size=smaller)


def _extract(
    model: BaseClassificationModel,
    records: Sequence[ImageRecord],
    digests: NDArray[np.uint8],
    view: View,
    how: Extraction,
) -> NDArray[np.float32]:
    """The features of images, each content once; what is in a table of batches of this size is not computed again."""
    _, first, copy_of = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    order = np.sort(first)  # the images in their order, without copies
    place = np.searchsorted(order, first)[copy_of.reshape(-1)]
    if len(order) == len(records):
        return _unique(model, records, digests, view, how)
    return _unique(model, [records[at] for at in order.tolist()], digests[order], view, how)[place]


def _unique(
    model: BaseClassificationModel,
    records: Sequence[ImageRecord],
    digests: NDArray[np.uint8],
    view: View,
    how: Extraction,
) -> NDArray[np.float32]:
    table = _open_table(model, view, how)
    rows = np.full(len(records), -1, np.int64) if table is None else table.find(digests)
    values: NDArray[np.float32] | None = None
    if table is not None and (rows >= 0).any():
        there = np.flatnonzero(rows >= 0)
        read, is_good = table.read(rows[there])
        if len(there) == len(records) and is_good.all():
            return read
        values = np.zeros((len(records), table.num_features), np.float32)
        values[there[is_good]] = read[is_good]
        rows[there[~is_good]] = -1
    missing = np.flatnonzero(rows < 0)
    if values is None:
        values = np.zeros((len(records), _num_features(model)), np.float32)
    done = len(records) - len(missing)
    if how.progress is not None:
        how.progress(done, len(records))
    with _in_evaluation(model, how.device):
        for positions, features in _batches(model, view.dataset(records, digests), missing, how):
            check_finite(features, "the backbone", [str(records[at]) for at in positions.tolist()])
            values[positions] = features
            table = _keep(table, digests[positions], features)
            done += len(positions)
            if how.progress is not None:
                how.progress(done, len(records))
            how.check_stop()
    if table is not None and len(missing):
        table.bound()
    return values


def _open_table(model: BaseClassificationModel, view: View, how: Extraction) -> FeatureTable | None:
    """The table of these features; None where they cannot be kept."""
    if how.cache is None:
        return None
    arithmetic_of = f"{how.device.type} {how.num_at_once} torch {torch.__version__} timm {timm.__version__}"
    form = (str(model.hparams["backbone"]), weights_hash(model.backbone), arithmetic_of, *view.form)
    try:
        return FeatureTable(how.cache, form, _num_features(model), photos=how.photos, limit=how.limit)
    except OSError as error:
        _warn_not_kept(how.cache, error)
        return None


def _keep(table: FeatureTable | None, digests: NDArray[np.uint8], features: NDArray[np.float32]) -> FeatureTable | None:
    """Adds features to a table; None from the first that it cannot take, as a full disk must not cost the run."""
    if table is None:
        return None
    try:
        return table if table.append(digests, features) else None
    except OSError as error:
        _warn_not_kept(table.cache, error)
        return None


def _warn_not_kept(cache: Path, error: OSError) -> None:
    reason = error.strerror or first_line(error)
    warnings.warn(f"features are not kept in {cache}, so other runs compute them again: {reason}", stacklevel=2)


def _num_features(model: BaseClassificationModel) -> int:
    name = str(model.hparams["backbone"])
    return linear_classifier(model.backbone, model.preprocessing.image_size, name).in_features


@contextlib.contextmanager
def _in_evaluation(model: BaseClassificationModel, device: torch.device) -> Iterator[None]:
    """The model on its device, as it answers; its modes are put back afterwards."""
    modes = [(module, module.training) for module in model.backbone.modules()]
    model.backbone.to(device)
    model.use_memory_format()
    model.backbone.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


def _batches(
    model: BaseClassificationModel, dataset: ImageDataset, positions: NDArray[np.int64], how: Extraction
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Positions int64 (B,) and their features float32 (B, D), batch by batch."""
    if not len(positions):
        return
    options = loader_options(how.num_workers) | {"persistent_workers": False}
    loader = BatchLoader(dataset, batch_size=how.num_at_once, sampler=positions.tolist(), **options)
    size, memory_of = model.preprocessing.image_size, how.device.type
    advice = f"lower data.image_size (now {size}) or choose a smaller model.name"
    with explain_loader_failures(), explain_out_of_memory(f"computing features on the {memory_of}", advice):
        for batch in loader:
            features = _forward(model, batch, how)
            yield batch["indices"].numpy(), features


@torch.inference_mode()
def _forward(model: BaseClassificationModel, batch: ClassificationBatch, how: Extraction) -> NDArray[np.float32]:
    tensors: dict[str, Any] = dict(batch)
    on_device: Any = {name: value.to(how.device, non_blocking=True) for name, value in tensors.items()}
    images = normalize_batch(on_device, model.preprocessing)["images"]
    count = len(images)
    if count < how.num_at_once:
        images = torch.cat([images, images[:1].expand(how.num_at_once - count, -1, -1, -1)])
    if model.settings.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    with arithmetic(how.device, "float32"), repeatable_attention(images.device):
        return backbone_features(model.backbone, images)[:count].float().cpu().numpy()
