from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.images import make_pixels
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from classifier_training.config.schema import DataConfig
from classifier_training.data.loading.crops import Crop, Randomness, random_uniforms
from classifier_training.data.loading.transforms import TrainTransform
from classifier_training.types import Interpolation, Preprocessing

SMALL = Preprocessing(image_size=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
PLAIN: dict[str, Any] = {"train_scale": (1.0, 1.0), "train_ratio": (1.0, 1.0), "hflip": 0.0, "color_jitter": 0.0}


def transform(preprocessing: Preprocessing = SMALL, **settings: Any) -> TrainTransform:
    return TrainTransform(preprocessing, DataConfig(**{**PLAIN, **settings}))


def random_of(number: int) -> Randomness:
    return Randomness(random_uniforms(0, 0, np.array([number]))[0])


def augment(how: TrainTransform, pixels: NDArray[np.uint8], number: int) -> Tensor:
    """uint8 (S, S, 3): what an augmentation makes of an image."""
    random, output = random_of(number), torch.empty((1, how.image_size, how.image_size, 3), dtype=torch.uint8)
    how(how.crop((pixels.shape[1], pixels.shape[0]), random).of(pixels), random, output.permute(0, 3, 1, 2))
    return output[0]


def test_without_augmentation_the_image_is_left() -> None:
    pixels = make_pixels(16, 16)

    np.testing.assert_array_equal(augment(transform(), pixels, 0).numpy(), pixels)


@pytest.mark.parametrize(("settings", "axes"), [
    ({"hflip": 1.0}, (1,)),
    ({"vflip": 1.0}, (0,)),
    ({"hflip": 1.0, "vflip": 1.0}, (0, 1)),
])  # fmt: skip
def test_flips(settings: dict[str, Any], axes: tuple[int, ...]) -> None:
    pixels = make_pixels(16, 16)

    np.testing.assert_array_equal(augment(transform(**settings), pixels, 0).numpy(), np.flip(pixels, axes))


def test_a_flip_happens_as_often_as_set() -> None:
    pixels, flip = make_pixels(16, 16), transform(hflip=0.25)

    flips = sum(not np.array_equal(augment(flip, pixels, number).numpy(), pixels) for number in range(400))

    assert abs(flips - 100) < 45


@pytest.mark.parametrize("settings", [
    {"train_scale": (0.1, 0.3)},
    {"train_ratio": (0.5, 2.0), "train_scale": (0.2, 0.9)},
    {"color_jitter": 0.5},
    {"auto_augment": "randaugment"},
    {"auto_augment": "trivialaugment"},
    {"auto_augment": "trivialaugment", "color_jitter": 0.5},
    {"random_erasing": 1.0},
])  # fmt: skip
def test_every_augmentation_changes_the_image_by_position(settings: dict[str, Any]) -> None:
    pixels, how = make_pixels(40, 30), transform(**settings)
    plain = augment(transform(), pixels, 0)

    outputs = [augment(how, pixels, number) for number in range(12)]

    assert all(torch.equal(augment(how, pixels, number), output) for number, output in enumerate(outputs))
    assert sum(not torch.equal(output, plain) for output in outputs) >= 6
    assert len({output.numpy().tobytes() for output in outputs}) >= 6


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize("size", [(5, 3), (1, 1), (1, 90), (64, 48)])
def test_every_filter_and_size(interpolation: Interpolation, size: tuple[int, int]) -> None:
    strong = DataConfig(auto_augment="trivialaugment", random_erasing=1.0)

    output = augment(
        TrainTransform(Preprocessing(image_size=16, interpolation=interpolation), strong), make_pixels(*size), 1
    )

    assert (output.shape, output.dtype) == ((16, 16, 3), torch.uint8)


@pytest.mark.parametrize(("name", "policy"), [
    ("randaugment", v2.RandAugment),
    ("trivialaugment", v2.TrivialAugmentWide),
])  # fmt: skip
def test_a_policy_is_torchvisions_to_the_bit(name: str, policy: type[Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    how = transform(Preprocessing(image_size=64), auto_augment=name)
    reference = policy(interpolation=InterpolationMode.BILINEAR)

    for number in range(150):
        with torch.random.fork_rng():
            torch.manual_seed(random_of(number).seed)
            expected = np.asarray(reference(Image.fromarray(pixels)))
        np.testing.assert_array_equal(augment(how, pixels, number).numpy(), expected)


def test_erased_parts_get_the_mean_colour() -> None:
    pixels = np.full((16, 16, 3), 255, np.uint8)

    colours = {tuple(colour) for colour in augment(transform(random_erasing=1.0), pixels, 0).view(-1, 3).tolist()}

    assert colours == {(255, 255, 255), (128, 102, 76)}


@pytest.mark.parametrize(
    "settings", [{}, {"color_jitter": 0.4}, {"auto_augment": "randaugment"}, {"random_erasing": 1.0}]
)
def test_the_image_and_the_global_generator_stay_as_they_are(settings: dict[str, Any]) -> None:
    pixels = make_pixels(16, 16)
    before, state = pixels.copy(), torch.get_rng_state()
    pixels.flags.writeable = False

    augment(transform(**settings), pixels, 3)

    np.testing.assert_array_equal(pixels, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_failing_augmentation_gives_the_generator_back() -> None:
    state, how = torch.get_rng_state(), transform(color_jitter=0.4)

    def fail(_: Image.Image) -> Image.Image:
        torch.rand(3)
        raise KeyError

    how.colour = fail
    with pytest.raises(KeyError):
        augment(how, make_pixels(), 0)

    assert torch.equal(torch.get_rng_state(), state)


def test_the_global_generator_does_not_matter() -> None:
    how, pixels = transform(auto_augment="randaugment", color_jitter=0.4, random_erasing=0.5), make_pixels(40, 30)
    expected = augment(how, pixels, 5)

    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert torch.equal(augment(how, pixels, 5), expected)


def test_as_much_is_decoded_as_the_crop_needs() -> None:
    crops = [Crop(0, 0, side, 300) for side in (8, 16, 31, 32, 64, 127, 128, 999)]

    assert [transform().shrink(crop) for crop in crops] == [1, 1, 1, 2, 4, 4, 8, 8]
    nearest = transform(Preprocessing(image_size=16, interpolation="nearest"))
    assert {nearest.shrink(crop) for crop in crops} == {1}
