from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers.images import make_pixels
from torchvision.transforms import v2

from classifier_training.data.loading.colour_operations import apply_colour_operations
from classifier_training.data.loading.policies import Operation

SIGNED = ("Brightness", "Color", "Contrast", "Sharpness")
CASES = [
    *(Operation(name, strength) for name in SIGNED for strength in (-0.99, -0.27, 0.0, 0.27, 0.99)),
    *(Operation("Posterize", bits) for bits in range(2, 9)),
    *(Operation("Solarize", threshold) for threshold in (0.0, 8.5, 127.5, 178.5, 255.0)),
    Operation("AutoContrast", 0.0),
    Operation("Equalize", 0.0),
]
IMAGES = {
    "photo": make_pixels(60, 60),
    "noise": np.random.default_rng(0).integers(40, 200, (64, 64, 3), dtype=np.uint8),
    "one colour": np.full((20, 20, 3), (3, 90, 255), np.uint8),
    "one pixel": np.full((1, 1, 3), 7, np.uint8),
}


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("operation", CASES, ids=str)
def test_an_operation_is_torchvisions_within_a_level(operation: Operation, image: str) -> None:
    square = IMAGES[image].copy()
    name, strength = operation
    apply: Any = v2.RandAugment()._apply_image_or_video_transform
    magnitude = strength / 255 if name == "Solarize" else strength
    expected = np.asarray(apply(Image.fromarray(square), name, magnitude, None, {Image.Image: None}))

    apply_colour_operations([operation], square)

    assert np.abs(square.astype(int) - expected).max() <= 1
    if name not in SIGNED:
        np.testing.assert_array_equal(square, expected)


def test_operations_that_move_pixels_are_passed_over() -> None:
    square = IMAGES["photo"].copy()

    apply_colour_operations([Operation("Rotate", 1.0), Operation("Identity", 0.0)], square)

    np.testing.assert_array_equal(square, IMAGES["photo"])


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.05, 2.0, 20.0])
@pytest.mark.parametrize("image", ["photo", "noise", "one colour"])
def test_a_blur_is_torchvisions_within_a_level(image: str, sigma: float) -> None:
    square = IMAGES[image].copy()
    kernel = 2 * min(math.ceil(3 * sigma), len(square) - 1) + 1
    expected = v2.functional.gaussian_blur(torch.from_numpy(square).permute(2, 0, 1), [kernel, kernel], [sigma, sigma])

    apply_colour_operations([Operation("GaussianBlur", sigma)], square)

    np.testing.assert_allclose(square.astype(int), expected.permute(1, 2, 0).numpy(), atol=1)


def test_a_blur_of_one_pixel_leaves_it() -> None:
    square = IMAGES["one pixel"].copy()

    apply_colour_operations([Operation("GaussianBlur", 2.0)], square)

    np.testing.assert_array_equal(square, IMAGES["one pixel"])
