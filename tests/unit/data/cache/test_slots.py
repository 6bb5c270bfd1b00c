from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image
from tests.helpers.stored_images import make_list

from classifier_training.data.cache.slots import (
    MAX_RATIO,
    ImageList,
    StoredForm,
    find_digests,
    stored_size,
    unpack_sides,
)
from classifier_training.imaging.preprocess import resize_and_crop
from classifier_training.types import Preprocessing

FORM = StoredForm("train", 256, "bicubic", "a")


def list_of(sizes: list[tuple[int, int]], form: StoredForm = FORM) -> ImageList:
    digests = np.arange(len(sizes) * 16, dtype=np.uint8).reshape(-1, 16)
    columns = np.array(sizes, np.uint16).reshape(-1, 2)
    return ImageList(digests, columns[:, 0], columns[:, 1], form)


# -- the size that an image is stored in ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((500, 375), 256, (341, 256)),
        ((375, 500), 256, (256, 341)),
        ((400, 400), 256, (256, 256)),
        ((256, 999), 256, (256, 999)),
        ((100, 80), 256, (100, 80)),
        ((5000, 4000), None, (5000, 4000)),
        ((1600, 100), 50, (800, 50)),
        ((1601, 100), 50, (0, 0)),
        ((100, 1601), None, (0, 0)),
        ((0, 0), 256, (0, 0)),
    ],
)
def test_stored_size(size: tuple[int, int], short_side: int | None, expected: tuple[int, int]) -> None:
    assert stored_size(*size, short_side) == expected


def test_the_stored_size_is_the_one_that_evaluation_resizes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    resized_to: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def note(image: Image.Image, size: tuple[int, int], *arguments: object, **options: object) -> Image.Image:
        resized_to.append(size)
        return resize(image, size, Image.Resampling.NEAREST)

    monkeypatch.setattr(Image.Image, "resize", note)
    preprocessing = Preprocessing(image_size=14, crop_pct=0.5, interpolation="nearest")
    sizes = [(width, height) for width in range(29, 120, 7) for height in range(29, 120, 3)]
    for width, height in sizes:
        resize_and_crop(np.zeros((height, width, 3), np.uint8), preprocessing)

    assert resized_to == [stored_size(*size, 28) for size in sizes]


# -- the table of slots ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("short_side", [None, 1, 32, 224, 256])
def test_slots_hold_the_stored_sizes_one_behind_the_other(short_side: int | None) -> None:
    generator = np.random.default_rng(0)
    sizes = [(int(width), int(height)) for width, height in generator.integers(1, 2000, (40_000, 2))]
    images = list_of([*sizes, (65_535, 65_535), (1, 60_000), (0, 0)], dataclasses.replace(FORM, short_side=short_side))

    table = np.concatenate(list(images.slots()))

    assert table.shape == (len(images) + 1, 2)
    stored = [unpack_sides(sides)[::-1] for sides in table[:, 1].tolist()]
    expected = [
        stored_size(*size, short_side) for size in zip(images.widths.tolist(), images.heights.tolist(), strict=True)
    ]
    assert stored == [*expected, (0, 0)]
    room = np.diff(table[:, 0])
    needed = np.array([3 * width * height for width, height in expected])
    assert (room >= needed).all()
    assert (room < needed + 64).all()
    assert (table[:, 0] % 64 == 0).all()
    assert images.num_bytes == table[-1, 0]


def test_an_empty_list_has_no_bytes() -> None:
    images = list_of([])

    assert images.num_bytes == 0
    assert [part.tolist() for part in images.slots()] == [[[0, 0]]]
    assert images.fitting(10) == (0, 0)


def test_fitting_counts_whole_images_from_the_first_on() -> None:
    images = list_of([(100, 100)] * 30_000, dataclasses.replace(FORM, short_side=None))
    one = 30_016  # 30,000 bytes, rounded up to 64

    assert images.fitting(-5) == (0, 0)
    assert images.fitting(one - 1) == (0, 0)
    assert images.fitting(one) == (1, one)
    assert images.fitting(20_000 * one + 1) == (20_000, 20_000 * one)
    assert images.fitting(30_000 * one) == (30_000, 30_000 * one)
    assert images.fitting(10**15) == (30_000, 30_000 * one)


def test_images_that_are_not_stored_fit_without_room() -> None:
    images = list_of([(0, 0), (100, MAX_RATIO * 100 + 1), (100, 100)], dataclasses.replace(FORM, short_side=None))

    assert images.fitting(1) == (2, 0)


# -- the name of a cache -----------------------------------------------------------------------------------------


def test_the_key_is_that_of_equal_lists_of_any_dtype() -> None:
    images = make_list()
    same = dataclasses.replace(
        make_list(), widths=images.widths.astype(np.int64), heights=images.heights.astype(np.uint32)
    )

    assert images.key == same.key
    assert len(images.key) == 32


def test_the_key_changes_with_everything_that_changes_what_is_stored() -> None:
    images = make_list()
    other_digest, other_width = images.digests.copy(), images.widths.copy()
    other_digest[3, 5] += 1
    other_width[2] += 1
    forms = [
        dataclasses.replace(images.form, **change)
        for change in (
            {"role": "evaluation"},
            {"short_side": 33},
            {"short_side": None},
            {"interpolation": "bilinear"},
            {"maker": "b"},
        )
    ]
    lists = [
        images,
        make_list(7),
        make_list(seed=1),
        dataclasses.replace(images, digests=images.digests[::-1]),
        dataclasses.replace(images, digests=other_digest),
        dataclasses.replace(images, widths=other_width),
        dataclasses.replace(images, widths=images.heights, heights=images.widths),
        *(dataclasses.replace(images, form=form) for form in forms),
    ]

    assert len({one.key for one in lists}) == len(lists)


# -- the same images in another list ---------------------------------------------------------------------------


def test_digests_are_found_wherever_they_stand() -> None:
    there = make_list(50).digests
    wanted = np.concatenate([there[[49, 0, 7]], make_list(2, seed=9).digests, there[[7]]])

    assert find_digests(wanted, there).tolist() == [49, 0, 7, -1, -1, 7]


def test_digests_that_agree_in_one_half_only_are_not_the_same() -> None:
    there = np.zeros((1, 16), np.uint8)
    first_half, second_half = there.copy(), there.copy()
    first_half[0, 15], second_half[0, 0] = 1, 1

    assert find_digests(np.concatenate([first_half, second_half, there]), there).tolist() == [-1, -1, 0]
