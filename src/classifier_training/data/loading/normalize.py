"""Turns uint8 batches into the model's input, on the device where they are."""

from __future__ import annotations

import contextlib
import functools
import math
import weakref
from collections import deque
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classifier_training.data.loading.erasing import erase
from classifier_training.data.loading.mixing import mix_images, mix_labels
from classifier_training.types import ClassificationBatch, Preprocessing

_MAX_KEPT: Final = 3
# Pixels that a matrix product takes as one row: a matrix of 3 x 3 would leave most of the processor idle.
_PIXELS_A_ROW: Final = 8


def normalize_batch(batch: ClassificationBatch, preprocessing: Preprocessing) -> ClassificationBatch:
    """Makes a batch that came from a loader as uint8 the model's input; leaves any other batch as it is.

    Training images whose colours are jittered bring maps, which normalise as well. What is to be erased of them is,
    and they are mixed with each other, if the loader has decided so.
    """
    if batch["images"].dtype != torch.uint8:
        return batch
    if "colour_maps" in batch:
        images = apply_colour_maps(batch["images"], batch["colour_maps"])
    else:
        images = normalize_images(batch["images"], preprocessing)
    labels = batch["labels"]
    if "erased" in batch:
        erase(images, batch["erased"])
    if "mix" in batch:
        images, labels = mix_images(images, batch["mix"]), mix_labels(labels, batch["mix"])
    return ClassificationBatch(images=images, labels=labels, indices=batch["indices"])


def normalize_images(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Computes ``(images / 255 - mean) / std``.

    On a CPU, the result has the bits of `imaging.preprocess.normalize`. For any other device see
    `normalize_in_one_step`.

    Args:
        images: uint8 (B, 3, H, W), in any memory format.
        preprocessing: Mean and standard deviation.

    Returns:
        float32 (B, 3, H, W), in the same memory format.
    """
    if images.device.type != "cpu":
        return normalize_in_one_step(images, preprocessing)
    mean, std = np.asarray(preprocessing.mean, np.float32), np.asarray(preprocessing.std, np.float32)
    if images.is_contiguous(memory_format=torch.channels_last):
        # as rows of W * 3 numbers, which are computed many at a time
        output = _channels_last(images)
        pixels, values = (tensor.permute(0, 2, 3, 1).flatten(2).numpy() for tensor in (images, output))
        mean, std = np.tile(mean, images.shape[3]), np.tile(std, images.shape[3])
    else:
        output = torch.empty_like(images, dtype=torch.float32)
        pixels, values, mean, std = images.numpy(), output.numpy(), mean.reshape(3, 1, 1), std.reshape(3, 1, 1)
    # One image at a time stays in the processor's cache. numpy, because torch's threads would wait for processors
    # that the loader's processes use. A table of 256 x 3 results takes longer than the arithmetic.
    for source, target in zip(pixels, values, strict=True):
        np.divide(source, np.float32(255), out=target)
        np.subtract(target, mean, out=target)
        np.divide(target, std, out=target)
    return output


def normalize_in_one_step(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """`normalize_images` as ``images * a + b``: one kernel, within 1e-6 of the exact result."""
    offset, scale = _affine(preprocessing.mean, preprocessing.std, images.device)
    # a CUDA kernel converts while it reads; other devices want one type
    return torch.addcmul(offset, images if images.is_cuda else images.float(), scale)


def apply_colour_maps(images: Tensor, maps: Tensor) -> Tensor:
    """Multiplies the RGB values of each image by a matrix of its own and adds a colour, in one pass.

    Args:
        images: uint8 (B, 3, H, W).
        maps: float32 (B, 3, 4), on the same device.

    Returns:
        float32 (B, 3, H, W), channels last.
    """
    if images.device.type == "cpu":
        return _apply_on_cpu(images, maps)
    return apply_with_broadcasting(images, maps)


def apply_with_broadcasting(images: Tensor, maps: Tensor) -> Tensor:
    """`apply_colour_maps` by kernels that every device has; not a matrix product, which a GPU may round to TF32."""
    source = images if images.is_cuda else images.float()
    columns = maps[:, :, :, None, None].unbind(2)
    output = torch.empty_like(images, dtype=torch.float32, memory_format=torch.channels_last)
    torch.addcmul(columns[3], source[:, 0:1], columns[0], out=output)
    for channel in (1, 2):
        output.addcmul_(source[:, channel : channel + 1], columns[channel])
    return output


def _apply_on_cpu(images: Tensor, maps: Tensor) -> Tensor:
    output = _channels_last(images)
    size = output[0].numel()
    whole = size // (3 * _PIXELS_A_ROW) * (3 * _PIXELS_A_ROW)
    values = torch.empty(size)
    # the same matrix for each pixel of a row
    matrix = torch.zeros(3 * _PIXELS_A_ROW, 3 * _PIXELS_A_ROW)
    blocks = matrix.as_strided((_PIXELS_A_ROW, 3, 3), (9 * _PIXELS_A_ROW + 3, 3 * _PIXELS_A_ROW, 1))
    columns, added = maps[:, :, :3].transpose(1, 2), maps[:, :, 3]
    added_to_rows = added.repeat(1, _PIXELS_A_ROW)
    targets = output.permute(0, 2, 3, 1).reshape(len(images), -1)
    for number, source in enumerate(images.permute(0, 2, 3, 1)):
        values.view(source.shape).copy_(source)
        blocks.copy_(columns[number])
        target = targets[number]
        rows = (-1, 3 * _PIXELS_A_ROW)
        torch.addmm(added_to_rows[number], values[:whole].view(rows), matrix, out=target[:whole].view(rows))
        if whole < size:
            rest = values[whole:].view(-1, 3)
            torch.addmm(added[number], rest, columns[number], out=target[whole:].view(-1, 3))
    return output


def _channels_last(images: Tensor) -> Tensor:
    """float32 memory for images of a CPU's batch, channels last."""
    batch, channels, height, width = images.shape
    flat = _memory.take(math.prod(images.shape))
    return flat.view(batch, height, width, channels).permute(0, 3, 1, 2)


class _UsedAgain:
    """Memory for batches, used again when nothing refers to it any more.

    The C library gives memory of such sizes back to the system at once, and getting new one costs more time than
    computing what is written to it.
    """

    def __init__(self) -> None:
        self._free: deque[NDArray[np.float32]] = deque(maxlen=_MAX_KEPT)

    def take(self, size: int) -> Tensor:
        """float32 (size,), uninitialised."""
        memory = self._find(size)
        values = memory[:]  # its end is the end of the last tensor that refers to it
        weakref.finalize(values, self._free.append, memory).atexit = False
        return torch.from_numpy(values)

    def _find(self, size: int) -> NDArray[np.float32]:
        with contextlib.suppress(IndexError):  # another thread may take the last one
            for _ in range(len(self._free)):
                memory = self._free.popleft()
                if len(memory) == size:
                    return memory
                self._free.append(memory)
        return np.empty(size, np.float32)


_memory = _UsedAgain()


@functools.lru_cache(maxsize=8)
def _affine(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Offset and scale, float32 (3, 1, 1) each; copied to the device once, as a copy would wait for it."""
    means, stds = (torch.tensor(values, dtype=torch.float64).view(3, 1, 1) for values in (mean, std))
    offset, scale = -means / stds, 1 / (255 * stds)
    return offset.to(device, torch.float32), scale.to(device, torch.float32)
