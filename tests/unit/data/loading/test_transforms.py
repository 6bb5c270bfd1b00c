from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tests.helpers.images import make_pixels
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomResizedCrop, v2

from classifier_training.config.schema import DataConfig
from classifier_training.data.loading.augmix import AugMix
from classifier_training.data.loading.normalize import apply_colour_maps
from classifier_training.data.loading.policies import Operation, Policy
from classifier_training.data.loading.randomness import Crop, Randomness, more_uniforms, random_uniforms
from classifier_training.data.loading.transforms import TrainTransform
from classifier_training.types import Interpolation, Preprocessing

SMALL = Preprocessing(image_size=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
PLAIN: dict[str, Any] = {"train_scale": (1.0, 1.0), "train_ratio": (1.0, 1.0), "hflip": 0.0, "color_jitter": 0.0}
PLAIN_COLOURS = Preprocessing(image_size=16, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
SCALE, RATIO = (0.08, 1.0), (0.75, 4 / 3)


def transform(preprocessing: Preprocessing = SMALL, **settings: Any) -> TrainTransform:
    return TrainTransform(preprocessing, DataConfig(**{**PLAIN, **settings}))


COLOURS = ("Brightness", "Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize")


def smooth_pixels(side: int) -> NDArray[np.uint8]:
    """An image without sharp edges, on which filters differ little."""
    y, x = np.mgrid[0:side, 0:side] / side
    return (255 * np.stack([x, y, (np.sin(5 * x) + np.cos(4 * y) + 2) / 4], axis=2)).astype(np.uint8)


def torchvisions(image: Image.Image, operation: Operation) -> Image.Image:
    name, strength = operation
    strength = {
        "Rotate": math.degrees(strength),
        "TranslateX": round(strength * image.width),
        "TranslateY": round(strength * image.width),
        "Solarize": strength / 255,
    }.get(name, strength)
    apply: Any = v2.RandAugment()._apply_image_or_video_transform
    changed: Image.Image = apply(image, name, strength, InterpolationMode.BILINEAR, {Image.Image: None})
    return changed


def random_of(number: int) -> Randomness:
    numbers = np.array([number])
    return Randomness(random_uniforms(0, 0, numbers)[0], more_uniforms(0, 0, numbers)[0])


def augment(how: TrainTransform, pixels: NDArray[np.uint8], number: int) -> Tensor:
    """uint8 (S, S, 3): what an augmentation makes of an image."""
    random, output = random_of(number), torch.empty((1, how.image_size, how.image_size, 3), dtype=torch.uint8)
    how(how.crop((pixels.shape[1], pixels.shape[0]), random).of(pixels), random, output.permute(0, 3, 1, 2))
    how.finish(output, [random])
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
    {"auto_augment": "randaugment"},
    {"auto_augment": "trivialaugment"},
    {"auto_augment": "trivialaugment", "color_jitter": 0.5},
    {"auto_augment": "randaugment", "randaugment_magnitude": 15.0, "randaugment_num_ops": 3},
    {"auto_augment": "randaugment", "randaugment_mstd": 0.5},
    {"auto_augment": "augmix"},
    {"auto_augment": "augmix", "augmix_severity": 10.0, "augmix_width": 1, "augmix_depth": 4, "augmix_alpha": 0.5},
    {"auto_augment": "3augment"},
    {"gaussian_blur": 0.8, "gaussian_blur_sigma": (0.4, 2.0)},
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
    for name in ("trivialaugment", "augmix", "3augment"):
        strong = DataConfig(auto_augment=name, gaussian_blur=1.0, hue=0.5, grayscale=0.5)

        output = augment(
            TrainTransform(Preprocessing(image_size=16, interpolation=interpolation), strong), make_pixels(*size), 1
        )

        assert (output.shape, output.dtype) == ((16, 16, 3), torch.uint8)


@pytest.mark.parametrize("name", ["randaugment", "trivialaugment"])
def test_a_policy_is_torchvisions_operations_after_the_crop_and_the_flips(name: str) -> None:
    """Compared away from borders, as what is black there is blended differently; ours resamples once."""
    pixels, how = smooth_pixels(64), transform(Preprocessing(image_size=64), auto_augment=name, hflip=0.5)
    flip = transform(Preprocessing(image_size=64), hflip=0.5)
    policy, differences = Policy(name, 64), []  # type: ignore[arg-type]  # one of the two names

    for number in range(120):
        expected = Image.fromarray(augment(flip, pixels, number).numpy())
        operations = policy.sample(random_of(number).policy)
        # pixels are moved before colours are changed
        for operation in sorted(operations, key=lambda operation: operation.name in COLOURS):
            expected = torchvisions(expected, operation)
        difference = np.abs(augment(how, pixels, number).numpy().astype(int) - np.asarray(expected))
        differences.append(np.quantile(difference, 0.8))

    assert np.quantile(differences, 0.9) <= 3
    assert np.mean(differences) <= 2


def test_augmix_is_the_mixture_of_its_chains() -> None:
    """Compared with torchvision's operations one by one, away from borders; ours resamples once."""
    large = Preprocessing(image_size=64)
    pixels, how = smooth_pixels(64), transform(large, auto_augment="augmix", augmix_severity=8.0, hflip=0.5)
    flip, augmix, differences, changes = transform(large, hflip=0.5), AugMix(64, 8.0, 3, None, 1.0), [], []

    for number in range(60):
        plain = augment(flip, pixels, number).numpy()
        mixture = augmix.sample(random_of(number).policy)
        expected = mixture.rest * plain.astype(float)
        for chain, weight in zip(mixture.chains, mixture.weights, strict=True):
            changed = Image.fromarray(plain)
            for operation in sorted(chain, key=lambda operation: operation.name in COLOURS):
                changed = torchvisions(changed, operation)
            expected += weight * np.asarray(changed)
        mixed = augment(how, pixels, number).numpy()
        differences.append(np.quantile(np.abs(mixed - expected), 0.8))
        changes.append(np.abs(mixed - plain.astype(float)).mean())

    assert np.quantile(differences, 0.9) <= 3
    assert np.mean(changes) > 8


def test_3_augment_makes_a_third_grey_inverted_or_blurred() -> None:
    """The references are torchvision's and Pillow's."""
    pixels, how = make_pixels(16, 16), transform(PLAIN_COLOURS, auto_augment="3augment")
    expected = {
        "grey": np.asarray(v2.functional.rgb_to_grayscale(Image.fromarray(pixels), 3)),
        "inverted": np.asarray(ImageOps.solarize(Image.fromarray(pixels), 128)),
    }
    counts = dict.fromkeys(("grey", "inverted", "blurred"), 0)

    for number in range(90):
        random = how.randoms(0, 0, np.array([number]))
        squares = torch.empty((1, 16, 16, 3), dtype=torch.uint8)
        how(pixels, random[0], squares.permute(0, 3, 1, 2))
        maps = how.finish(squares, random)
        assert maps is not None
        seen = 255 * apply_colour_maps(squares.permute(0, 3, 1, 2), torch.from_numpy(maps))[0].permute(1, 2, 0).numpy()
        kinds = [kind for kind, image in expected.items() if np.abs(seen - image).max() <= 1]
        sigma = random[0].sigma(0.1, 2.0)
        blurred = v2.functional.gaussian_blur(torch.from_numpy(pixels).permute(2, 0, 1), [13, 13], [sigma, sigma])
        if np.abs(seen - blurred.permute(1, 2, 0).numpy()).max() <= 2:
            kinds.append("blurred")
        assert len(kinds) == 1
        counts[kinds[0]] += 1

    assert all(20 <= count <= 40 for count in counts.values())


@pytest.mark.parametrize("settings", [{"hue": 0.5}, {"grayscale": 0.5}, {"gaussian_blur": 0.5}])
def test_what_is_off_changes_no_other_random_number(settings: dict[str, Any]) -> None:
    positions = np.arange(5)
    off, on = transform(color_jitter=0.3), transform(color_jitter=0.3, **settings)

    rows = [(random.policy, *random.jitter) for random in on.randoms(7, 2, positions)]

    assert rows == [(random.policy, *random.jitter) for random in off.randoms(7, 2, positions)]


def test_colours_and_blurs_come_as_often_as_set() -> None:
    randoms = transform(grayscale=0.3, gaussian_blur=0.6, hue=0.1).randoms(0, 0, np.arange(3000))

    shares = np.mean([(random.is_grey(0.3), random.is_blurred(0.6)) for random in randoms], axis=0)
    np.testing.assert_allclose(shares, [0.3, 0.6], atol=0.04)
    sigmas = np.array([random.sigma(0.1, 2.0) for random in randoms])
    assert 0.1 <= sigmas.min() < 0.12
    assert 1.98 < sigmas.max() < 2.0
    alone = transform(grayscale=0.3).randoms(0, 0, np.array([1700]))[0]
    assert (alone.hue, alone.choice) == (randoms[1700].hue, randoms[1700].choice)
    numbers = np.array([(random.hue, random.choice, random.sigma(0, 1), random.jitter[0]) for random in randoms])
    assert np.abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 0.08


@pytest.mark.parametrize("settings", [{}, {"color_jitter": 0.4}, {"auto_augment": "randaugment"}])
def test_the_image_and_the_global_generator_stay_as_they_are(settings: dict[str, Any]) -> None:
    pixels = make_pixels(16, 16)
    before, state = pixels.copy(), torch.get_rng_state()
    pixels.flags.writeable = False

    augment(transform(**settings), pixels, 3)

    np.testing.assert_array_equal(pixels, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_global_generator_does_not_matter() -> None:
    how, pixels = transform(auto_augment="randaugment", color_jitter=0.4), make_pixels(40, 30)
    expected = augment(how, pixels, 5)

    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert torch.equal(augment(how, pixels, 5), expected)


def test_as_much_is_decoded_as_the_crop_needs() -> None:
    crops = [Crop(0, 0, side, 300) for side in (8, 16, 31, 32, 64, 127, 128, 999)]

    assert [transform().shrink(crop) for crop in crops] == [1, 1, 1, 2, 4, 4, 8, 8]
    nearest = transform(Preprocessing(image_size=16, interpolation="nearest"))
    assert {nearest.shrink(crop) for crop in crops} == {1}


def rows(numbers: list[int], seed: int = 0, epoch: int = 0) -> list[list[float]]:
    return random_uniforms(seed, epoch, np.array(numbers, np.int64))


def test_the_random_numbers_depend_on_seed_epoch_and_position_alone() -> None:
    alone = {number: rows([number])[0] for number in (0, 1, 2, 3, 64, 65, 10**12)}

    for numbers in ([0, 1, 2, 3], [64, 65], [3, 2, 1], [10**12, 0, 65], [1, 1, 3], [0, 2, 64, 65]):
        assert rows(numbers) == [alone[number] for number in numbers]
    assert rows([]) == []
    everything = [*alone.values(), rows([0], seed=1)[0], rows([0], epoch=1)[0]]
    assert len({tuple(row) for row in everything}) == len(everything)
    assert len({value for row in everything for value in row}) == sum(map(len, everything))


def test_the_numbers_are_uniform() -> None:
    values = np.array(rows(list(range(4000))))

    assert values.min() >= 0
    assert values.max() < 1
    np.testing.assert_allclose(values.mean(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(values.var(axis=0), 1 / 12, atol=0.01)
    correlations = np.corrcoef(values.T) - np.eye(values.shape[1])
    assert np.abs(correlations).max() < 0.08


@pytest.mark.parametrize("size", [(400, 533), (300, 300), (640, 120), (90, 700)])
def test_crops_are_distributed_as_torchvisions(size: tuple[int, int]) -> None:
    count = 3000
    ours = np.array([Randomness(row).crop(size, SCALE, RATIO) for row in rows(list(range(count)))])
    image = torch.empty(3, size[1], size[0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sampled = [RandomResizedCrop.get_params(image, list(SCALE), list(RATIO)) for _ in range(count)]
    theirs = np.array([(left, top, width, height) for top, left, height, width in sampled])

    for one, other in zip((*ours.T, ours[:, 2] * ours[:, 3]), (*theirs.T, theirs[:, 2] * theirs[:, 3]), strict=True):
        assert largest_gap(one, other) < 0.05  # Kolmogorov-Smirnov; 0.05 is exceeded once in 700 times by chance


def largest_gap(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """The largest difference of two empirical distribution functions."""
    values = np.union1d(one, other)
    sides = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (one, other)]
    return float(np.abs(sides[0] - sides[1]).max())


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (5, 3), (37, 41), (10_000, 20)])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.35, 1.0), (1.0, 1.0), (0.01, 0.01)])
@pytest.mark.parametrize("ratio", [(0.75, 4 / 3), (1.0, 1.0), (0.1, 0.2), (5.0, 9.0)])
def test_crops_lie_in_the_image(size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]) -> None:
    for row in rows(list(range(60))):
        crop = Randomness(row).crop(size, scale, ratio)
        assert crop.left >= 0
        assert crop.top >= 0
        assert crop.width >= 1
        assert crop.height >= 1
        assert crop.left + crop.width <= size[0]
        assert crop.top + crop.height <= size[1]


def test_every_position_is_reached() -> None:
    crops = [Randomness(row).crop((4, 4), (0.25, 0.25), (1.0, 1.0)) for row in rows(list(range(200)))]

    assert {(crop.left, crop.top) for crop in crops} == {(left, top) for left in range(3) for top in range(3)}


def test_a_crop_that_never_fits_is_the_largest_centred_one() -> None:
    (row,) = rows([0])

    assert Randomness(row).crop((100, 40), (1.0, 1.0), (1.0, 1.0)) == Crop(30, 0, 40, 40)
    assert Randomness(row).crop((40, 100), (1.0, 1.0), (0.5, 0.5)) == Crop(0, 10, 40, 80)


@pytest.mark.parametrize("shrink", [2, 4, 8])
def test_a_shrunk_crop_lies_whole_in_the_crop_and_misses_less_than_a_pixel(shrink: int) -> None:
    for row in rows(list(range(50))):
        crop = Randomness(row).crop((333, 277), SCALE, RATIO)
        small = crop.shrunk(shrink)
        assert small.left + small.width <= math.ceil(333 / shrink)
        assert small.top + small.height <= math.ceil(277 / shrink)
        for start, length, small_start, small_length in zip(crop[:2], crop[2:], small[:2], small[2:], strict=True):
            assert start - shrink < small_start * shrink <= start
            assert length - shrink < small_length * shrink <= length


def test_a_crop_is_a_view() -> None:
    pixels = np.zeros((5, 7, 3), np.uint8)

    part = Crop(1, 2, 3, 2).of(pixels)
    part[:] = 9

    assert part.shape == (2, 3, 3)
    assert pixels[2:4, 1:4].min() == 9
    assert pixels.sum() == 9 * part.size


def test_flips_and_policies() -> None:
    randoms = [Randomness(row) for row in rows(list(range(2000)))]

    flips = np.array([random.flips(0.5, 0.1) for random in randoms]).mean(axis=0)
    np.testing.assert_allclose(flips, [0.5, 0.1], atol=0.04)
    assert not any(any(random.flips(0.0, 0.0)) for random in randoms)
    assert all(all(random.flips(1.0, 1.0)) for random in randoms)
    assert len({random.policy for random in randoms}) == 2000
