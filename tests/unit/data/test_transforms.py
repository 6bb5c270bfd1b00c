from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from tests.helpers.images import make_pixels

from classifier_training.config.schema import DataConfig
from classifier_training.data.transforms import TrainTransform
from classifier_training.imaging.preprocess import normalize
from classifier_training.types import Interpolation, Preprocessing

SMALL = Preprocessing(image_size=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
PLAIN: dict[str, Any] = {"train_scale": (1.0, 1.0), "train_ratio": (1.0, 1.0), "hflip": 0.0, "color_jitter": 0.0}


def transform(preprocessing: Preprocessing = SMALL, **settings: Any) -> TrainTransform:
    return TrainTransform(preprocessing, DataConfig(**{**PLAIN, **settings}))


def test_without_augmentation_only_the_normalisation_is_left() -> None:
    pixels = make_pixels(16, 16)

    output = transform()(pixels, 0)

    np.testing.assert_allclose(output.numpy(), normalize(pixels, SMALL), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("setting", "axis"), [("hflip", 1), ("vflip", 0)])
def test_flips(setting: str, axis: int) -> None:
    pixels, settings = make_pixels(16, 16), {setting: 1.0}

    flipped = transform(SMALL, **settings)(pixels, 0)

    np.testing.assert_allclose(flipped.numpy(), normalize(np.flip(pixels, axis).copy(), SMALL), rtol=0, atol=1e-5)


def test_a_flip_happens_as_often_as_set() -> None:
    pixels, flip = make_pixels(16, 16), transform(hflip=0.25)
    plain = flip(pixels, 0), transform(hflip=0.0)(pixels, 0)

    flips = sum(not torch.equal(flip(pixels, seed), plain[1]) for seed in range(400))

    assert abs(flips - 100) < 45


@pytest.mark.parametrize("settings", [
    {"train_scale": (0.1, 0.3)},
    {"train_ratio": (0.5, 2.0), "train_scale": (0.2, 0.9)},
    {"color_jitter": 0.5},
    {"auto_augment": "randaugment"},
    {"auto_augment": "trivialaugment"},
    {"random_erasing": 1.0},
])  # fmt: skip
def test_every_augmentation_changes_the_picture_by_seed(settings: dict[str, Any]) -> None:
    pixels, augment = make_pixels(40, 30), transform(**settings)
    plain = transform()(pixels, 0)

    outputs = [augment(pixels, seed) for seed in range(12)]

    assert all(torch.equal(augment(pixels, seed), output) for seed, output in enumerate(outputs))
    assert sum(not torch.equal(output, plain) for output in outputs) >= 6
    assert len({output.numpy().tobytes() for output in outputs}) >= 6


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize("size", [(5, 3), (1, 1), (1, 90), (64, 48)])
def test_shape_and_type_for_every_filter_and_size(interpolation: Interpolation, size: tuple[int, int]) -> None:
    strong = DataConfig(auto_augment="trivialaugment", random_erasing=1.0)
    augment = TrainTransform(Preprocessing(image_size=16, interpolation=interpolation), strong)

    output = augment(make_pixels(*size), 1)

    assert (output.shape, output.dtype) == ((3, 16, 16), torch.float32)
    assert output.is_contiguous()
    assert output.isfinite().all()


def test_the_picture_is_not_changed() -> None:
    pixels = make_pixels(16, 16)
    before = pixels.copy()

    TrainTransform(SMALL, DataConfig(auto_augment="randaugment", random_erasing=1.0))(pixels, 3)

    np.testing.assert_array_equal(pixels, before)
