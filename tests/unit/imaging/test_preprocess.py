from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers.images import make_pixels
from timm.data.transforms_factory import create_transform
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

from classifier_training.imaging import preprocess as module
from classifier_training.imaging.preprocess import (
    can_be_resized_whole,
    center_crop,
    normalize,
    preprocess,
    resize,
    resize_and_crop,
)
from classifier_training.types import Interpolation, Preprocessing

LITE0 = Preprocessing(image_size=64, crop_pct=0.875, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
SIZES = [(48, 32), (32, 48), (64, 64), (73, 74), (91, 200), (333, 101), (5, 7), (65, 5)]


def torchvision_reference(preprocessing: Preprocessing) -> Compose:
    interpolation = InterpolationMode(preprocessing.interpolation)
    return Compose(
        [
            Resize(preprocessing.resize_size, interpolation),
            CenterCrop(preprocessing.image_size),
            ToTensor(),
            Normalize(preprocessing.mean, preprocessing.std),
        ]
    )


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("image_size", "crop_pct"), [(64, 0.875), (33, 0.9), (32, 1.0)])
def test_equals_torchvision(
    interpolation: Interpolation, size: tuple[int, int], image_size: int, crop_pct: float
) -> None:
    preprocessing = Preprocessing(image_size=image_size, crop_pct=crop_pct, interpolation=interpolation)
    pixels = make_pixels(*size)

    result = preprocess(pixels, preprocessing)

    expected = torchvision_reference(preprocessing)(Image.fromarray(pixels))
    np.testing.assert_allclose(result, expected.numpy(), rtol=0, atol=1e-6)
    assert result.dtype == np.float32
    assert result.shape == (3, image_size, image_size)
    assert result.flags.c_contiguous


@pytest.mark.parametrize("crop_pct", [0.875, 0.965, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_equals_timm(crop_pct: float, size: tuple[int, int]) -> None:
    preprocessing = replace(LITE0, crop_pct=crop_pct)
    reference = create_transform(
        input_size=(3, 64, 64),
        is_training=False,
        interpolation="bicubic",
        mean=preprocessing.mean,
        std=preprocessing.std,
        crop_pct=crop_pct,
    )
    pixels = make_pixels(*size)

    expected = reference(Image.fromarray(pixels))

    assert isinstance(expected, torch.Tensor)
    np.testing.assert_allclose(preprocess(pixels, preprocessing), expected.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(3, 120), (120, 3), (400, 20), (300, 10), (2000, 100)])
def test_a_strip_gives_what_resizing_the_whole_gives(
    interpolation: Interpolation, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocessing = Preprocessing(image_size=32, interpolation=interpolation)
    pixels = make_pixels(*size)

    strip = resize_and_crop(pixels, preprocessing)
    monkeypatch.setattr(module, "_MAX_WHOLE_RATIO", 10_000)
    whole = resize_and_crop(pixels, preprocessing)

    assert np.abs(strip.astype(int) - whole).max() <= 1


def test_an_extreme_strip_needs_no_extreme_memory() -> None:
    pixels = np.full((1, 100_000, 3), 7, np.uint8)

    assert (resize_and_crop(pixels, Preprocessing()) == 7).all()
    assert (resize_and_crop(pixels.transpose(1, 0, 2), Preprocessing()) == 7).all()


def test_the_two_steps_are_the_whole() -> None:
    pixels = make_pixels(90, 70)

    np.testing.assert_array_equal(normalize(resize_and_crop(pixels, LITE0), LITE0), preprocess(pixels, LITE0))


def test_the_source_is_not_changed() -> None:
    pixels = make_pixels(64, 64)
    before = pixels.copy()

    preprocess(pixels, replace(LITE0, crop_pct=1.0))[:] = 0
    resize_and_crop(pixels, replace(LITE0, crop_pct=1.0))[:] = 0

    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [*SIZES, (16, 256), (256, 16)])
def test_resizing_and_cropping_apart_gives_the_same_bits(interpolation: Interpolation, size: tuple[int, int]) -> None:
    pixels, preprocessing = make_pixels(*size), replace(LITE0, interpolation=interpolation)
    assert can_be_resized_whole(pixels)

    resized = resize(pixels, preprocessing)

    assert min(resized.shape[:2]) == preprocessing.resize_size
    np.testing.assert_array_equal(center_crop(resized, preprocessing), resize_and_crop(pixels, preprocessing))


def test_a_strip_is_not_resized_whole() -> None:
    assert not can_be_resized_whole(make_pixels(16, 257))
    assert not can_be_resized_whole(make_pixels(257, 16))
