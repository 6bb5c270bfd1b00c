from __future__ import annotations

import io
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import sklearn.datasets
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.helpers.images import make_image, make_pixels
from tests.helpers.stored_images import make_image_cache
from torch import Tensor

from classifier_training.config.schema import DataConfig
from classifier_training.data.cache.image_cache import ImageCache
from classifier_training.data.cache.slots import ImageList, StoredForm, stored_size
from classifier_training.data.loading.dataset import (
    EvaluationDataset,
    TrainDataset,
    reduce_image,
    resized_for_evaluation,
)
from classifier_training.data.loading.randomness import Randomness, random_uniforms
from classifier_training.data.loading.transforms import TrainTransform
from classifier_training.data.sampling.batches import SampledIndices
from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.jpeg import EncodedImage
from classifier_training.imaging.preprocess import resize_and_crop
from classifier_training.imaging.views import make_views
from classifier_training.types import ClassificationBatch, Decoding, ImageRecord, Preprocessing, TestTimeAugmentation

SMALL = Preprocessing(image_size=16, crop_pct=0.8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
STRONG = DataConfig(
    vflip=0.5,
    auto_augment="randaugment",
    color_jitter=0.5,
    hue=0.1,
    grayscale=0.2,
    gaussian_blur=0.5,
    random_erasing=0.5,
)
SIZES = [(48, 32), (20, 33), (16, 16), (200, 90), (12, 9), (5, 120)]
PHOTOS = Path(sklearn.datasets.__file__).parent / "images"


class MemoryCache:
    """Pictures in a dictionary, given out read-only, as mapped files give them."""

    def __init__(self) -> None:
        self.images: dict[int, NDArray[np.uint8]] = {}

    def get(self, position: int) -> NDArray[np.uint8] | None:
        return self.images.get(position)

    def put(self, position: int, pixels: NDArray[np.uint8]) -> None:
        self.images[position] = pixels.copy()
        self.images[position].flags.writeable = False


def make_records(root: Path) -> list[ImageRecord]:
    names = [f"{number}.{'png' if number % 2 else 'jpg'}" for number in range(len(SIZES))]
    return [
        ImageRecord(str(make_image(root / name, make_pixels(*size, seed=number))))
        for number, (name, size) in enumerate(zip(names, SIZES, strict=True))
    ]


def make_train_dataset(root: Path, seed: int = 0, config: DataConfig = STRONG, **options: Any) -> TrainDataset:
    return TrainDataset(make_records(root), np.arange(len(SIZES)) % 2, TrainTransform(SMALL, config), seed, **options)


def make_evaluation_dataset(records: list[ImageRecord], **options: Any) -> EvaluationDataset:
    return EvaluationDataset(records, np.arange(len(records)), SMALL, **options)


def sampled(samples: list[int], numbers: list[int] | None = None, epoch: int = 0) -> SampledIndices:
    return SampledIndices(
        epoch, np.array(samples if numbers is None else numbers, np.int64), np.array(samples, np.int64)
    )


def image(dataset: TrainDataset, sample: int, epoch: int, number: int) -> torch.Tensor:
    return dataset.__getitems__(sampled([sample], [number], epoch))["images"][0]


def assert_same(one: ClassificationBatch, other: ClassificationBatch) -> None:
    assert torch.equal(one["images"], other["images"])
    assert torch.equal(one["labels"], other["labels"])
    assert torch.equal(one["indices"], other["indices"])
    for name in ("colour_maps", "erased"):
        assert torch.equal(*(cast("Tensor", batch.get(name, torch.empty(0))) for batch in (one, other)))
    assert one.get("mix") == other.get("mix")


# -- training ----------------------------------------------------------------------------------------------------


def test_a_batch_holds_images_labels_and_positions(tmp_path: Path) -> None:
    batch = make_train_dataset(tmp_path).__getitems__(sampled([3, 0, 3], [7, 8, 9]))

    assert set(batch) == ClassificationBatch.__required_keys__ - {"mix"}
    assert (batch["images"].shape, batch["images"].dtype) == ((3, 3, 16, 16), torch.uint8)
    assert batch["images"].is_contiguous(memory_format=torch.channels_last)
    assert (batch["labels"].tolist(), batch["labels"].dtype) == ([1, 0, 1], torch.int64)
    assert (batch["indices"].tolist(), batch["indices"].dtype) == ([3, 0, 3], torch.int64)
    assert not torch.equal(batch["images"][0], batch["images"][2])


@pytest.mark.parametrize("reduce_to", [None, 20])
def test_an_image_follows_from_its_position_alone(tmp_path: Path, reduce_to: int | None) -> None:
    dataset = make_train_dataset(tmp_path, reduce_to=reduce_to)
    batch = dataset.__getitems__(sampled([0, 1, 2, 3, 4, 5], [10, 11, 12, 13, 14, 15]))

    for sample in range(6):
        assert torch.equal(image(dataset, sample, 0, 10 + sample), batch["images"][sample])
    other_order = dataset.__getitems__(sampled([5, 2, 0], [15, 12, 10]))
    assert torch.equal(other_order["images"], batch["images"][[5, 2, 0]])


def test_the_global_generators_do_not_matter_and_stay_as_they_are(tmp_path: Path) -> None:
    dataset = make_train_dataset(tmp_path)
    expected = image(dataset, 1, 2, 3)

    with torch.random.fork_rng():
        torch.manual_seed(1234)
        numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - the global one is meant
        state, random_state = torch.get_rng_state(), random.getstate()
        assert torch.equal(image(dataset, 1, 2, 3), expected)
        assert torch.equal(torch.get_rng_state(), state)

    after: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    np.testing.assert_array_equal(after["state"]["key"], numpy_state["state"]["key"])
    assert after["state"]["pos"] == numpy_state["state"]["pos"]
    assert random.getstate() == random_state


def test_epochs_positions_and_seeds_differ(tmp_path: Path) -> None:
    one, other = (make_train_dataset(tmp_path, seed) for seed in (0, 1))

    images = [image(one, 0, 0, 0), image(one, 0, 1, 0), image(one, 0, 0, 1), image(other, 0, 0, 0)]

    assert len({pixels.numpy().tobytes() for pixels in images}) == 4


@pytest.mark.parametrize("reduce_to", [8, 16, 20, 64])
def test_a_cache_changes_no_bit(tmp_path: Path, reduce_to: int) -> None:
    cache, batch = MemoryCache(), sampled([0, 1, 2, 3, 4, 5])
    expected = make_train_dataset(tmp_path, reduce_to=reduce_to).__getitems__(batch)
    dataset = make_train_dataset(tmp_path, reduce_to=reduce_to, cache=cache)

    assert_same(dataset.__getitems__(batch), expected)
    assert len(cache.images) == 6
    for record in dataset.records:
        Path(record.path).unlink()
    assert_same(dataset.__getitems__(batch), expected)


def test_the_cache_of_a_run_takes_what_it_is_given(tmp_path: Path) -> None:
    records = make_records(tmp_path / "photos")
    train_cache = make_cache(tmp_path / "train", StoredForm("train", 20, "bicubic", "test"))
    evaluation_cache = make_cache(tmp_path / "val", StoredForm("evaluation", SMALL.resize_size, "bicubic", "test"))
    train = make_train_dataset(tmp_path / "photos", cache=train_cache, reduce_to=20)
    evaluation = make_evaluation_dataset(records, cache=evaluation_cache)

    assert_same(train.__getitems__(sampled([0, 1, 2, 3, 4, 5])), train.__getitems__(sampled([0, 1, 2, 3, 4, 5])))
    assert_same(evaluation.__getitems__(range(6)), evaluation.__getitems__(range(6)))

    assert train_cache.num_stored() == evaluation_cache.num_stored() == 5  # a strip of 5 x 120 pixels is not stored
    uncached = make_evaluation_dataset(records), make_train_dataset(tmp_path / "photos", reduce_to=20)
    assert_same(evaluation.__getitems__(range(6)), uncached[0].__getitems__(range(6)))
    assert_same(train.__getitems__(sampled([4, 0, 3])), uncached[1].__getitems__(sampled([4, 0, 3])))


def make_cache(folder: Path, form: StoredForm) -> ImageCache:
    digests = np.random.default_rng(0).integers(0, 256, (len(SIZES), 16), dtype=np.uint8)
    widths, heights = np.array(SIZES).T
    return make_image_cache(folder, ImageList(digests, widths, heights, form))


def test_a_cache_of_images_that_are_not_reduced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs reduce_to"):
        make_train_dataset(tmp_path, cache=MemoryCache())


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize("reduce_to", [None, 64, 256])
def test_an_image_is_pillows_within_four_levels(name: str, reduce_to: int | None) -> None:
    """The stated tolerance: on average 4 of 255 levels from decoding, reducing, cropping and resizing with Pillow.

    A crop of an image that is decoded at a part of its size begins and ends at whole pixels of that part.
    """
    plain = DataConfig(train_scale=(0.08, 1.0), hflip=0.0, color_jitter=0.0)
    transform, path = TrainTransform(Preprocessing(image_size=64), plain), PHOTOS / name
    dataset = TrainDataset([ImageRecord(str(path))], np.zeros(1, np.int64), transform, 0, reduce_to=reduce_to)
    whole = Image.fromarray(decode_image(path))
    if reduce_to is not None:
        whole = whole.resize(stored_size(*whole.size, reduce_to), Image.Resampling.BICUBIC)
    shrinks = set()

    for number in range(20):
        crop = transform.crop(whole.size, Randomness(random_uniforms(0, 0, np.array([number]))[0]))
        shrink = transform.shrink(crop) if reduce_to is None else 1
        left, top, width, height = (shrink * value for value in crop.shrunk(shrink))
        part = whole.crop((left, top, left + width, top + height))
        expected = np.asarray(part.resize((64, 64), Image.Resampling.BICUBIC)).astype(np.int64)
        result = image(dataset, 0, 0, number).permute(1, 2, 0).numpy()
        assert np.abs(result - expected).mean() < 4
        shrinks.add(shrink)
    assert shrinks == ({2, 4} if reduce_to is None else {1})


@pytest.mark.parametrize("reduce_to", [None, 20])
def test_training_images_are_turned_upright(tmp_path: Path, reduce_to: int | None) -> None:
    pixels = make_pixels(120, 80)
    paths = [
        make_image(tmp_path / "a.jpg", pixels),
        make_image(tmp_path / "b.jpg", np.rot90(pixels), orientation=6),
    ]
    dataset = TrainDataset(
        [ImageRecord(str(path)) for path in paths],
        np.zeros(2, np.int64),
        TrainTransform(SMALL, DataConfig(color_jitter=0.0)),
        0,
        reduce_to=reduce_to,
    )

    batch = dataset.__getitems__(sampled([0, 1], [4, 4]))["images"].to(torch.int64)

    assert (batch[0] - batch[1]).abs().max() <= 8  # both were compressed, in two directions


def test_an_image_in_a_file_of_many_is_found(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(make_pixels(40, 30)).save(content, "JPEG")
    (tmp_path / "shard.tar").write_bytes(b"x" * 100 + content.getvalue() + b"y" * 50)
    (tmp_path / "alone.jpg").write_bytes(content.getvalue())
    records = [
        ImageRecord(str(tmp_path / "shard.tar"), 100, len(content.getvalue()), "member.jpg"),
        ImageRecord(str(tmp_path / "alone.jpg")),
    ]

    images = make_evaluation_dataset(records).__getitems__([0, 1])["images"]
    assert torch.equal(images[0], images[1])
    train = TrainDataset(records, np.zeros(2, np.int64), TrainTransform(SMALL, STRONG), 0)
    images = train.__getitems__(sampled([0, 1], [3, 3]))["images"]
    assert torch.equal(images[0], images[1])


def test_a_file_that_breaks_during_training_is_named_and_not_replaced(tmp_path: Path) -> None:
    for reduce_to in (None, 20):
        dataset = make_train_dataset(tmp_path, reduce_to=reduce_to)
        path = Path(dataset.records[2].path)
        path.write_bytes(b"")
        with pytest.raises(BadImageError, match=rf"{path}: the file is empty"):
            dataset.__getitems__(sampled([1, 2]))
        path.unlink()
        with pytest.raises(BadImageError, match=rf"{path}: no such file"):
            dataset.__getitems__(sampled([2]))


@pytest.mark.parametrize("sample", [2, 3])
def test_too_many_pixels_are_refused(tmp_path: Path, sample: int) -> None:
    width, height = SIZES[sample]
    allowing, refusing = (make_train_dataset(tmp_path, decoding=Decoding(width * height - less)) for less in (0, 1))
    scoring, refusing_to_score = (
        EvaluationDataset(
            make_records(tmp_path), np.arange(len(SIZES)), SMALL.decoded_as(Decoding(width * height - less))
        )
        for less in (0, 1)
    )

    assert len(allowing.__getitems__(sampled([sample]))["labels"]) == 1
    assert len(scoring.__getitems__([sample])["labels"]) == 1
    message = rf"{sample}\.\w+: it has more than {width * height - 1} pixels; raise data\.max_image_pixels"
    with pytest.raises(BadImageError, match=message):
        refusing.__getitems__(sampled([sample]))
    with pytest.raises(BadImageError, match=message):
        refusing_to_score.__getitems__([sample])


def test_a_dataset_can_be_sent_to_a_worker(tmp_path: Path) -> None:
    dataset = make_train_dataset(tmp_path)

    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own bytes

    assert torch.equal(image(copy, 0, 0, 0), image(dataset, 0, 0, 0))
    assert len(copy) == 6


def test_a_reduced_image_has_the_size_that_the_cache_expects(tmp_path: Path) -> None:
    for size in [(640, 480), (481, 639), (33, 900), (20, 20), (21, 20), (19, 500), (10, 300)]:
        content = make_image(tmp_path / "a.jpg", make_pixels(*size)).read_bytes()
        height, width, _ = reduce_image(EncodedImage(content, "a"), 20).shape
        assert (width, height) == (size if stored_size(*size, 20) == (0, 0) else stored_size(*size, 20))


def test_the_nearest_pixel_is_a_pixel_of_the_image(tmp_path: Path) -> None:
    """A smaller JPEG has means of pixels; so a nearest pixel is looked for in the whole one."""
    content = make_image(tmp_path / "a.jpg", make_pixels(240, 240)).read_bytes()
    whole = decode_image(content)

    pixels = reduce_image(EncodedImage(content, "a"), 40, "nearest")

    np.testing.assert_array_equal(pixels, whole[3::6, 3::6])
    assert not np.array_equal(pixels, reduce_image(EncodedImage(content, "a"), 40))


# -- evaluation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("size", [(48, 32), (20, 33), (16, 16), (7, 9), (300, 9)])
def test_evaluation_is_what_the_deployed_model_sees(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    suffixes = {"RGB": "jpg", "L": "jpg", "CMYK": "jpg"}
    path = make_image(tmp_path / f"a.{suffixes.get(mode, 'png')}", make_pixels(*size), mode=mode)
    expected = resize_and_crop(decode_image(path), SMALL)
    cache = MemoryCache()
    dataset = make_evaluation_dataset([ImageRecord(str(path))], cache=cache)

    from_file, from_cache = dataset.__getitems__([0]), dataset.__getitems__([0])

    np.testing.assert_array_equal(from_file["images"][0].permute(1, 2, 0).numpy(), expected)
    assert_same(from_cache, from_file)
    assert cache.images


def test_an_evaluation_batch_holds_images_labels_and_positions(tmp_path: Path) -> None:
    batch = make_evaluation_dataset(make_records(tmp_path)).__getitems__([4, 2])

    assert (batch["images"].shape, batch["images"].dtype) == ((2, 3, 16, 16), torch.uint8)
    assert batch["labels"].tolist() == [4, 2]
    assert batch["indices"].tolist() == [4, 2]


def test_evaluation_turns_images_upright(tmp_path: Path) -> None:
    upright = make_image(tmp_path / "a.png", make_pixels(48, 32))
    turned = make_image(tmp_path / "b.png", np.rot90(make_pixels(48, 32)), orientation=6)

    images = make_evaluation_dataset([ImageRecord(str(upright)), ImageRecord(str(turned))]).__getitems__([0, 1])

    assert torch.equal(images["images"][0], images["images"][1])


def test_what_the_evaluation_cache_keeps_has_the_expected_size() -> None:
    preprocessing = replace(SMALL, image_size=20, crop_pct=1.0)
    for size in [(640, 480), (33, 320), (20, 20), (21, 20), (19, 90), (10, 300), (20, 900)]:
        height, width, _ = resized_for_evaluation(make_pixels(*size), preprocessing).shape
        assert (width, height) == (size if stored_size(*size, 20) == (0, 0) else stored_size(*size, 20))


@pytest.mark.parametrize("tta", ["flip", "five"])
def test_a_batch_has_all_first_views_and_then_the_others(tmp_path: Path, tta: TestTimeAugmentation) -> None:
    records, preprocessing = make_records(tmp_path), Preprocessing(image_size=16, crop_pct=0.6)
    labels, cache = np.arange(len(records)), MemoryCache()
    dataset = EvaluationDataset(records, labels, preprocessing, cache=cache, tta=tta)

    from_files, from_cache = dataset.__getitems__([3, 0, 4]), dataset.__getitems__([3, 0, 4])

    assert_same(from_cache, from_files)
    assert cache.images
    assert from_files["labels"].tolist() == from_files["indices"].tolist() == [3, 0, 4]
    expected = [make_views(decode_image(records[index]), preprocessing, tta) for index in (3, 0, 4)]
    images = from_files["images"].permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(images, np.concatenate([np.stack(views) for views in zip(*expected, strict=True)]))
    assert dataset.batch_bytes(3) == images.nbytes
