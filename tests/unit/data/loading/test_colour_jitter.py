from __future__ import annotations

import colorsys
import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.images import make_pixels
from torchvision.transforms import v2

from classifier_training.data.loading.colour_jitter import ColourJitter, mean_greys
from classifier_training.types import Preprocessing

PLAIN = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
GREY = np.array([0.299, 0.587, 0.114])
UNUSUAL = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def apply(
    maps: np.ndarray[tuple[int, ...], np.dtype[np.float32]], pixels: object
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """float64 (H, W, 3): the map (3, 4) of an image (H, W, 3)."""
    return np.asarray(np.asarray(pixels, np.float64) @ maps[:, :3].T + maps[:, 3])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_map_is_torchvisions_jitter_in_any_order_where_that_does_not_clip(order: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(90, 150, (32, 32, 3), dtype=np.uint8)
    uniforms = np.random.default_rng(1).random((20, 3))
    functions = (v2.functional.adjust_brightness, v2.functional.adjust_contrast, v2.functional.adjust_saturation)
    greys = mean_greys(torch.from_numpy(pixels)[None]).repeat(20)

    maps = ColourJitter(0.2, PLAIN).colour_maps(uniforms, greys)

    for colour_map, row in zip(maps, uniforms, strict=True):
        expected = Image.fromarray(pixels)
        for step in order:
            expected = functions[step](expected, 0.8 + 0.4 * row[step])
        # torchvision rounds after every step
        np.testing.assert_allclose(255 * apply(colour_map, pixels), np.asarray(expected), atol=3.5)


def test_a_map_normalises() -> None:
    pixels, uniforms = make_pixels(8, 8), np.array([[0.1, 0.6, 0.9]])
    greys = np.array([99.0])

    (plain,), (normalised,) = (ColourJitter(0.7, p).colour_maps(uniforms, greys) for p in (PLAIN, UNUSUAL))

    expected = (apply(plain, pixels) - UNUSUAL.mean) / UNUSUAL.std
    np.testing.assert_allclose(apply(normalised, pixels), expected, rtol=1e-5, atol=1e-5)


def test_the_factors_are_uniform_around_one() -> None:
    uniforms = np.random.default_rng(0).random((4000, 3))
    maps = 255 * ColourJitter(0.3, PLAIN).colour_maps(uniforms, np.zeros(4000))

    gain = maps[:, 0, :3].sum(axis=1)  # of a grey pixel: brightness times contrast
    np.testing.assert_allclose(gain, (0.7 + 0.6 * uniforms[:, 0]) * (0.7 + 0.6 * uniforms[:, 1]), rtol=1e-5)
    saturation = (maps[:, 0, 0] - maps[:, 1, 0]) / gain
    np.testing.assert_allclose(saturation, 0.7 + 0.6 * uniforms[:, 2], rtol=1e-4)
    np.testing.assert_array_equal(ColourJitter(0.3, PLAIN).colour_maps(np.full((1, 3), 0.5), np.ones(1))[0, 0, 1:], 0)


def test_the_mean_grey_is_that_of_the_whole_image() -> None:
    images = np.stack([make_pixels(224, 224, seed=seed) for seed in range(4)])

    greys = mean_greys(torch.from_numpy(images))

    expected = [np.asarray(Image.fromarray(image).convert("L")).mean() for image in images]
    np.testing.assert_allclose(greys, expected, atol=3)
    np.testing.assert_allclose(mean_greys(torch.full((2, 5, 5, 3), 77, dtype=torch.uint8)), 77)


def test_the_strongest_jitter_can_make_everything_black() -> None:
    (colour_map,) = ColourJitter(1.0, UNUSUAL).colour_maps(np.zeros((1, 3)), np.array([110.0]))

    np.testing.assert_allclose(apply(colour_map, [10, 20, 30]), [-2.5, -4 / 3, -0.75], rtol=1e-6)


def muted(number: int) -> NDArray[np.uint8]:
    """uint8 (number, 1, 3): colours that no hue pushes out of [0, 255]."""
    return np.random.default_rng(2).integers(80, 176, (number, 1, 3), dtype=np.uint8)


def test_a_hue_turns_the_colours_of_yiq() -> None:
    pixels, uniforms = muted(200), np.random.default_rng(1).random(12)

    maps = ColourJitter(0.0, PLAIN, hue=0.4).colour_maps(np.full((12, 3), 0.5), np.zeros(12), uniforms)

    for colour_map, uniform in zip(maps, uniforms, strict=True):
        angle = 2 * math.pi * 0.4 * (2 * uniform - 1)
        turned = []
        for y, i, q in (colorsys.rgb_to_yiq(*pixel) for pixel in pixels[:, 0] / 255):
            # as in the colour circle of HSV, red becomes yellow: in the plane of I and Q this is clockwise
            c, s = math.cos(angle), math.sin(angle)
            turned.append(colorsys.yiq_to_rgb(y, c * i + s * q, c * q - s * i))
        # colorsys has rounded coefficients, and clips
        np.testing.assert_allclose(apply(colour_map, pixels)[:, 0], turned, atol=0.02)


def test_a_small_hue_is_about_torchvisions() -> None:
    """That is a turn in HSV, which keeps the largest and the smallest channel instead of the grey."""
    pixels = muted(300)
    for hue in (-0.05, 0.05):
        (colour_map,) = ColourJitter(0.0, PLAIN, hue=0.05).colour_maps(
            np.full((1, 3), 0.5), np.zeros(1), np.array([(hue / 0.05 + 1) / 2])
        )
        expected = np.asarray(v2.functional.adjust_hue(Image.fromarray(pixels), hue), float)
        changes = [255 * apply(colour_map, pixels) - pixels, expected - pixels]
        ours, theirs = (change - change @ GREY[:, None] for change in changes)
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9


def test_a_hue_and_a_jitter_commute() -> None:
    pixels, uniforms, hues = make_pixels(16, 16), np.array([[0.9, 0.2, 0.7]]), np.array([0.8])
    greys = mean_greys(torch.from_numpy(pixels)[None])
    (both,) = ColourJitter(0.3, PLAIN, hue=0.25).colour_maps(uniforms, greys, hues)
    (jitter,) = ColourJitter(0.3, PLAIN).colour_maps(uniforms, greys)
    (hue,) = ColourJitter(0.0, PLAIN, hue=0.25).colour_maps(np.full((1, 3), 0.5), greys, hues)

    np.testing.assert_allclose(apply(both, pixels), apply(hue, 255 * apply(jitter, pixels)), atol=1e-5)
    np.testing.assert_allclose(apply(both, pixels), apply(jitter, 255 * apply(hue, pixels)), atol=1e-5)


@pytest.mark.parametrize("hue", [0.0, 0.5])
def test_an_image_that_loses_its_colours_is_torchvisions_greyscale(hue: float) -> None:
    pixels, hues = make_pixels(16, 16), np.array([0.1, 0.9]) if hue else None

    grey, colour = ColourJitter(0.0, PLAIN, hue).colour_maps(
        np.full((2, 3), 0.5), np.zeros(2), hues, np.array([True, False])
    )

    expected = np.asarray(v2.functional.rgb_to_grayscale(Image.fromarray(pixels), 3))
    np.testing.assert_allclose(255 * apply(grey, pixels), expected, atol=1)
    assert np.abs(255 * apply(colour, pixels) - expected).max() > 20
