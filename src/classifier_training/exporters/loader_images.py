"""Takes real images out of any data loaders, to compare models on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

_IMAGE_KEYS = ("images", "image", "input", "inputs", "pixel_values", "x")


def first_images(loaders: Any, num_images: int, prepare: Callable[[Any], Any] | None = None) -> Tensor | None:
    """Reads batches until there are enough images.

    Args:
        loaders: A data loader, or a list, tuple or mapping of some; None has no images.
        num_images: Number wanted; fewer come back if there are no more.
        prepare: Prepares a batch for the model; tried on batches without such images.

    Returns:
        float32 (n, 3, H, W) on the CPU, all of the first batch's size; None if no batch holds such a tensor.
    """
    found: list[Tensor] = []
    for batch in _batches(loaders):
        images = images_in(batch)
        if images is None and prepare is not None:
            images = images_in(prepare(batch))
        if images is None or (found and images.shape[1:] != found[0].shape[1:]):
            break
        found.append(images)
        if sum(map(len, found)) >= num_images:
            break
    return torch.cat(found)[:num_images] if found else None


def images_in(batch: Any) -> Tensor | None:
    """The images of one batch: the first floating-point tensor (n, 3, H, W), the usual keys first.

    Args:
        batch: A tensor, or lists, tuples and mappings of some.

    Returns:
        float32 (n, 3, H, W) on the CPU, or None.
    """
    if isinstance(batch, Tensor):
        is_images = batch.ndim == 4 and batch.shape[1] == 3 and len(batch) > 0 and batch.is_floating_point()
        return batch.detach().to("cpu", torch.float32) if is_images else None
    parts: Iterable[Any] = ()
    if isinstance(batch, Mapping):
        keys = [key for key in _IMAGE_KEYS if key in batch] + [key for key in batch if key not in _IMAGE_KEYS]
        parts = [batch[key] for key in keys]
    elif isinstance(batch, list | tuple):
        parts = batch
    return next((images for images in map(images_in, parts) if images is not None), None)


def _batches(loaders: Any) -> Iterator[Any]:
    if loaders is None:
        return
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, list | tuple):
        for loader in loaders:
            yield from _batches(loader)
    else:
        yield from loaders
