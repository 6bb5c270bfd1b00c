from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import sklearn.datasets
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.images import make_pixels

from classifier_training.data.loading.policies import AffineMap
from classifier_training.data.loading.resampling import as_images, reduced, resize_kernel, sample_affine
from classifier_training.imaging.decode import decode_image
from classifier_training.types import Interpolation

PHOTO = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"
PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.BICUBIC,
}


def resized(pixels: NDArray[np.uint8], size: tuple[int, int], interpolation: Interpolation) -> NDArray[np.uint8]:
    output = np.empty((size[1], size[0], 3), np.uint8)
    resize_kernel(interpolation)(as_images(pixels), (size[1], size[0]), as_images(output))
    return output


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize("box", [(0, 0, 640, 427), (13, 27, 413, 327), (100, 100, 190, 180), (600, 3, 640, 400)])
@pytest.mark.parametrize("size", [(224, 224), (64, 64), (33, 71)])
def test_a_crop_of_a_photo_is_pillows_within_two_levels(
    interpolation: Interpolation, box: tuple[int, int, int, int], size: tuple[int, int]
) -> None:
    pixels = decode_image(PHOTO)

    result = resized(pixels[box[1] : box[3], box[0] : box[2]], size, interpolation)

    expected = np.asarray(Image.fromarray(pixels).crop(box).resize(size, PILLOW[interpolation]))
    differences = np.abs(result.astype(np.int64) - expected)
    if interpolation == "nearest":  # a tie may go to either neighbour
        assert (differences.max(axis=2) > 0).mean() < 0.1
    else:
        assert differences.max() <= 2 if interpolation == "bilinear" else np.percentile(differences, 99.9) <= 2
        assert differences.mean() < 0.5


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (3, 2)])
def test_the_smallest_images(interpolation: Interpolation, size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), (3, 200, 90), np.uint8)

    assert (resized(pixels, (16, 16), interpolation) == (3, 200, 90)).all()


def test_read_only_memory_is_read_without_a_warning_and_stays_as_it_is() -> None:
    pixels = make_pixels(64, 48)
    read_only = pixels.copy()
    read_only.flags.writeable = False

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = resized(read_only[4:40, 3:50], (20, 20), "bicubic")

    np.testing.assert_array_equal(result, resized(pixels[4:40, 3:50], (20, 20), "bicubic"))
    np.testing.assert_array_equal(read_only, pixels)


def test_the_memory_of_a_mapped_file_can_be_read(tmp_path: Path) -> None:
    pixels = make_pixels(64, 48)
    pixels.tofile(tmp_path / "pixels")
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "r", shape=(48, 64, 3))

    np.testing.assert_array_equal(reduced(mapped, (32, 24)), reduced(pixels, (32, 24)))


def test_a_reduced_photo_is_pillows_bicubic_one() -> None:
    pixels = decode_image(PHOTO)

    result = reduced(pixels, (384, 256))

    expected = np.asarray(Image.fromarray(pixels).resize((384, 256), Image.Resampling.BICUBIC))
    differences = np.abs(result.astype(np.int64) - expected)
    assert result.shape == (256, 384, 3)
    assert np.percentile(differences, 99.9) <= 2
    assert differences.mean() < 0.5


def test_the_bits_do_not_depend_on_the_number_of_threads() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    before = torch.get_num_threads()

    results = []
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            results.append(reduced(pixels, (400, 300)))
    finally:
        torch.set_num_threads(before)

    np.testing.assert_array_equal(results[0], results[1])


def affine_sample(
    pixels: NDArray[np.uint8], affine: AffineMap, side: int, *, nearest: bool = False
) -> NDArray[np.uint8]:
    output = torch.empty((1, side, side, 3), dtype=torch.uint8)
    sample_affine(as_images(pixels), affine, output.permute(0, 3, 1, 2), nearest=nearest)
    result: NDArray[np.uint8] = output[0].numpy()
    return result


@pytest.mark.parametrize("nearest", [False, True])
def test_an_affine_map_that_changes_nothing(nearest: bool) -> None:
    pixels = make_pixels(24, 24)

    np.testing.assert_array_equal(affine_sample(pixels, AffineMap(), 24, nearest=nearest), pixels)
    np.testing.assert_array_equal(
        affine_sample(pixels, AffineMap().flipped(True, True), 24, nearest=nearest), pixels[::-1, ::-1]
    )


@pytest.mark.parametrize("size", [(1, 1), (10, 7), (30, 41), (100, 250)])
def test_an_affine_map_enlarges_and_reduces_without_black_borders(size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), (200, 100, 50), np.uint8)

    result = affine_sample(pixels, AffineMap(), 24)

    np.testing.assert_array_equal(result, np.broadcast_to(np.array([200, 100, 50], np.uint8), (24, 24, 3)))


def test_an_affine_map_averages_what_it_reduces_by_far() -> None:
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::2] = 200  # every other pixel alone would be all or nothing

    result = affine_sample(stripes, AffineMap(), 24)

    assert np.abs(result.astype(int) - 100).max() <= 1


def test_where_an_affine_map_leaves_the_image_it_is_black() -> None:
    pixels = np.full((32, 32, 3), 255, np.uint8)
    quarter = math.pi / 4

    turned = AffineMap(math.cos(quarter), -math.sin(quarter), 0.0, math.sin(quarter), math.cos(quarter), 0.0)
    result = affine_sample(pixels, turned, 32)

    assert [result[row, column].max() for row in (0, 31) for column in (0, 31)] == [0] * 4
    assert result[8:24, 8:24].min() == 255


def test_a_quarter_turn_is_exact() -> None:
    pixels = make_pixels(24, 24)

    result = affine_sample(pixels, AffineMap(0.0, -1.0, 0.0, 1.0, 0.0, 0.0), 24)

    assert np.abs(result.astype(int) - np.rot90(pixels).astype(int)).max() <= 1
