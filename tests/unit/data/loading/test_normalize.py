from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest
import torch

from classifier_training.data.loading.normalize import (
    apply_colour_maps,
    apply_with_broadcasting,
    normalize_batch,
    normalize_images,
    normalize_in_one_step,
)
from classifier_training.imaging.preprocess import normalize
from classifier_training.types import ClassificationBatch, Preprocessing

PREPROCESSINGS = [
    Preprocessing(),
    Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)),
    Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    Preprocessing(mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)),
]


def all_values(count: int = 3, size: int = 32) -> torch.Tensor:
    """uint8 (B, S, S, 3) with every value in every channel."""
    values = torch.arange(count * size * size * 3, dtype=torch.int64).view(count, size, size, 3)
    return ((values * 7919) % 256).to(torch.uint8)


def expected(pixels: torch.Tensor, preprocessing: Preprocessing) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.stack([normalize(image.numpy(), preprocessing) for image in pixels])


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
@pytest.mark.parametrize("is_channels_last", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_a_cpu_computes_the_very_bits_of_the_deployed_preprocessing(
    preprocessing: Preprocessing, is_channels_last: bool, count: int
) -> None:
    pixels = all_values(count)
    images = pixels.permute(0, 3, 1, 2)
    images = images if is_channels_last else images.contiguous()

    result = normalize_images(images, preprocessing)

    np.testing.assert_array_equal(result.numpy(), expected(pixels, preprocessing))
    assert result.dtype == torch.float32
    assert result.stride() == images.stride()
    assert (images == pixels.permute(0, 3, 1, 2)).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
@pytest.mark.parametrize("is_channels_last", [True, False])
def test_a_gpu_computes_it_within_a_millionth(preprocessing: Preprocessing, is_channels_last: bool) -> None:
    pixels = all_values()
    images = pixels.permute(0, 3, 1, 2).cuda()
    images = images if is_channels_last else images.contiguous()

    result = normalize_images(images, preprocessing)

    np.testing.assert_allclose(result.cpu().numpy(), expected(pixels, preprocessing), rtol=1e-6, atol=1e-6)
    assert result.stride() == images.stride()


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
def test_one_step_is_within_a_millionth(preprocessing: Preprocessing) -> None:
    pixels = all_values()
    images = pixels.permute(0, 3, 1, 2)

    result = normalize_in_one_step(images, preprocessing)

    np.testing.assert_allclose(result.numpy(), expected(pixels, preprocessing), rtol=1e-6, atol=1e-6)
    assert result.dtype == torch.float32
    assert result.stride() == images.stride()


def random_maps(count: int) -> torch.Tensor:
    """float32 (B, 3, 4)"""
    return torch.rand((count, 3, 4), generator=torch.Generator().manual_seed(0)) / 255


def mapped(pixels: torch.Tensor, maps: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """float64 (B, 3, S, S)"""
    levels = np.concatenate([pixels.numpy(), np.ones((*pixels.shape[:3], 1))], axis=3)
    result: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = np.einsum(
        "bhwj,bij->bihw", levels, maps.double().numpy()
    )
    return result


@pytest.mark.parametrize("apply", [apply_colour_maps, apply_with_broadcasting])
@pytest.mark.parametrize("size", [1, 5, 32, 37])  # also where the pixels do not fill rows of eight
@pytest.mark.parametrize("is_channels_last", [True, False])
def test_each_image_is_multiplied_by_its_own_map(
    apply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], size: int, is_channels_last: bool
) -> None:
    pixels, maps = all_values(4, size), random_maps(4)
    images = pixels.permute(0, 3, 1, 2)

    result = apply(images if is_channels_last else images.contiguous(), maps)

    np.testing.assert_allclose(result.numpy(), mapped(pixels, maps), rtol=1e-5, atol=1e-6)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_multiplies_without_tf32() -> None:
    pixels, maps = all_values(4), random_maps(4)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        result = apply_colour_maps(pixels.permute(0, 3, 1, 2).cuda(), maps.cuda())
    finally:
        torch.set_float32_matmul_precision(before)

    np.testing.assert_allclose(result.cpu().numpy(), mapped(pixels, maps), rtol=1e-5, atol=1e-6)


def test_an_image_does_not_depend_on_its_batch() -> None:
    pixels, maps = all_values(5), random_maps(5)
    images = pixels.permute(0, 3, 1, 2)

    together = apply_colour_maps(images, maps)

    for number in range(5):
        assert torch.equal(together[number], apply_colour_maps(images[number:][:1], maps[number:][:1])[0])


def test_memory_is_used_again_only_when_nothing_refers_to_it() -> None:
    images = all_values(3).permute(0, 3, 1, 2)
    first = normalize_images(images, Preprocessing())
    address, kept = first.data_ptr(), first[1:2]
    before = kept.clone()
    del first

    second = normalize_images(images, PREPROCESSINGS[1])

    assert second.data_ptr() != address
    assert torch.equal(kept, before)
    del kept
    assert normalize_images(images, Preprocessing()).data_ptr() == address


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that are forked")
def test_a_forked_process_has_memory_of_its_own() -> None:
    images = all_values(3, 64).permute(0, 3, 1, 2)
    normalize_images(images, Preprocessing())  # is free again, in both processes
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        normalize_images(images, PREPROCESSINGS[2])
        os._exit(0)
    result = normalize_images(images, Preprocessing())
    before = result.clone()

    os.waitpid(child, 0)

    assert torch.equal(result, before)
    np.testing.assert_array_equal(result.numpy(), expected(images.permute(0, 2, 3, 1), Preprocessing()))


def test_a_batch_with_colour_maps_is_normalised_by_them() -> None:
    labels, maps = torch.tensor([0, 1, 2]), random_maps(3)
    raw = ClassificationBatch(images=all_values().permute(0, 3, 1, 2), labels=labels, indices=labels, colour_maps=maps)

    once = normalize_batch(raw, Preprocessing())

    assert torch.equal(once["images"], apply_colour_maps(raw["images"], maps))
    assert "colour_maps" not in once
    assert normalize_batch(once, Preprocessing()) is once


def test_a_batch_that_is_normalised_already_is_left_as_it_is() -> None:
    labels = torch.tensor([0, 1, 2])
    raw = ClassificationBatch(images=all_values().permute(0, 3, 1, 2), labels=labels, indices=labels + 5)

    once = normalize_batch(raw, Preprocessing())

    assert raw["images"].dtype == torch.uint8
    assert torch.equal(once["images"], normalize_images(raw["images"], Preprocessing()))
    assert torch.equal(once["labels"], labels)
    assert torch.equal(once["indices"], labels + 5)
    assert normalize_batch(once, Preprocessing()) is once
