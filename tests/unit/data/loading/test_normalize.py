from __future__ import annotations

import numpy as np
import pytest
import torch

from classifier_training.data.loading.normalize import normalize_batch, normalize_images, normalize_in_one_step
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


def test_a_batch_that_is_normalised_already_is_left_as_it_is() -> None:
    labels = torch.tensor([0, 1, 2])
    raw = ClassificationBatch(images=all_values().permute(0, 3, 1, 2), labels=labels, indices=labels + 5)

    once = normalize_batch(raw, Preprocessing())

    assert raw["images"].dtype == torch.uint8
    assert torch.equal(once["images"], normalize_images(raw["images"], Preprocessing()))
    assert torch.equal(once["labels"], labels)
    assert torch.equal(once["indices"], labels + 5)
    assert normalize_batch(once, Preprocessing()) is once
