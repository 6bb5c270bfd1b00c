from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers.images import make_pixels
from torchvision.transforms import InterpolationMode, Resize
from torchvision.transforms.v2 import functional

from classifier_training.errors import ConfigError
from classifier_training.imaging.preprocess import resize, resize_and_crop
from classifier_training.imaging.views import check_tta, describe_tta, log_mean_probabilities, make_views
from classifier_training.types import NUM_VIEWS, Preprocessing, TestTimeAugmentation

SIZES = [(48, 32), (32, 48), (64, 64), (333, 101), (5, 7)]


def five_crops(pixels: np.ndarray, preprocessing: Preprocessing) -> list[np.ndarray]:
    """torchvision's, with the centre first."""
    resized = Resize(preprocessing.resize_size, InterpolationMode.BICUBIC)(Image.fromarray(pixels))
    *corners, centre = functional.five_crop(resized, [preprocessing.image_size] * 2)
    return [np.asarray(crop) for crop in (centre, *corners)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("image_size", "crop_pct"), [(32, 0.8), (33, 0.9), (32, 1.0)])
def test_five_views_are_torchvisions_crops(size: tuple[int, int], image_size: int, crop_pct: float) -> None:
    preprocessing, pixels = Preprocessing(image_size=image_size, crop_pct=crop_pct), make_pixels(*size)

    views = make_views(pixels, preprocessing, "five")

    assert len(views) == NUM_VIEWS["five"]
    for view, expected in zip(views, five_crops(pixels, preprocessing), strict=True):
        np.testing.assert_array_equal(view, expected)


def test_the_first_view_is_the_one_without_augmentation_and_a_flip_mirrors_it() -> None:
    preprocessing, pixels = Preprocessing(image_size=32), make_pixels(70, 50)
    expected = resize_and_crop(pixels, preprocessing)

    for tta in NUM_VIEWS:
        np.testing.assert_array_equal(make_views(pixels, preprocessing, tta)[0], expected)
    plain, flipped = make_views(pixels, preprocessing, "none"), make_views(pixels, preprocessing, "flip")
    assert len(plain) == 1
    np.testing.assert_array_equal(flipped[1], np.asarray(functional.hflip(Image.fromarray(expected))))


@pytest.mark.parametrize("tta", NUM_VIEWS)
def test_an_image_that_is_resized_already_has_the_same_views(tta: TestTimeAugmentation) -> None:
    preprocessing, pixels = Preprocessing(image_size=32), make_pixels(70, 50)

    views = make_views(resize(pixels, preprocessing), preprocessing, tta, is_resized=True)

    for view, expected in zip(views, make_views(pixels, preprocessing, tta), strict=True):
        np.testing.assert_array_equal(view, expected)


@pytest.mark.parametrize("size", [(2000, 20), (20, 2000)])
def test_the_corners_of_a_strip_lie_at_its_ends(size: tuple[int, int]) -> None:
    """Only the part that a view needs is resized; the reference resizes the whole strip."""
    preprocessing, pixels = Preprocessing(image_size=16, crop_pct=0.8), make_pixels(*size)

    views = make_views(pixels, preprocessing, "five")

    for view, expected in zip(views, five_crops(pixels, preprocessing), strict=True):
        assert np.abs(view.astype(int) - expected).max() <= 1


def test_the_mean_is_that_of_the_probabilities() -> None:
    logits = [10 * np.random.default_rng(seed).normal(size=(6, 4)).astype(np.float32) for seed in range(5)]
    logits[0][0], logits[1][0] = (9e4, 0, 0, 0), (-9e4, 0, 0, 0)

    mean = log_mean_probabilities(logits)

    expected = torch.stack([torch.softmax(torch.from_numpy(view).double(), 1) for view in logits]).mean(0)
    assert mean.dtype == np.float32
    assert np.isfinite(mean).all()
    np.testing.assert_allclose(np.exp(mean), expected, rtol=1e-5, atol=1e-12)
    assert (mean.argmax(axis=1) == expected.numpy().argmax(axis=1)).all()


def test_the_mean_of_one_view_is_that_view_to_the_bit() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)

    assert log_mean_probabilities([logits]) is logits


def test_words() -> None:
    assert [describe_tta(tta) for tta in NUM_VIEWS] == [
        "",
        ", with test-time augmentation flip: 2 × the time",
        ", with test-time augmentation five: 5 × the time",
    ]
    check_tta("five")
    with pytest.raises(ConfigError, match="tta='ten': unknown test-time augmentation; allowed: none, flip, five"):
        check_tta("ten")
