"""Labelled images as torch datasets that give whole batches, as uint8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from classifier_training.data.cache.slots import stored_size
from classifier_training.data.loading.batch_memory import BatchMemory, make_batch
from classifier_training.data.loading.batch_plan import BatchPlan
from classifier_training.data.loading.erasing import RandomErasing
from classifier_training.data.loading.randomness import Randomness
from classifier_training.data.loading.resampling import reduced
from classifier_training.data.loading.sizes import CentredTransform
from classifier_training.data.loading.transforms import TrainTransform
from classifier_training.data.sampling.batches import SampledIndices
from classifier_training.imaging.decode import DEFAULT, decode_image, read_image_bytes
from classifier_training.imaging.jpeg import EncodedImage, largest_shrink
from classifier_training.imaging.preprocess import can_be_resized_whole, resize
from classifier_training.imaging.views import make_views
from classifier_training.types import (
    NUM_VIEWS,
    ClassificationBatch,
    Decoding,
    ImageRecord,
    Interpolation,
    Preprocessing,
    TestTimeAugmentation,
)


class Cache(Protocol):
    """Where decoded images are kept, by their position in a dataset."""

    def get(self, position: int) -> NDArray[np.uint8] | None:
        """uint8 (H, W, 3); None where it is not stored."""

    def put(self, position: int, pixels: NDArray[np.uint8]) -> None:
        """Keeps uint8 (H, W, 3), if there is room."""


class ImageDataset(Dataset[ClassificationBatch]):
    """Base of both datasets: records, labels, a cache.

    Args:
        records: Where the images are.
        labels: int64 (N,), their class indices.
        image_size: Side S of the images.
        cache: Holds images that were decoded before; None: every image is decoded.
        decoding: What to do about large, transparent and deep images.

    Attributes:
        memory: Where loader processes write batches; None: in memory of their own.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        labels: NDArray[np.int64],
        image_size: int,
        cache: Cache | None,
        decoding: Decoding,
    ) -> None:
        self.records = records
        self.labels = labels
        self.image_size = image_size
        self.cache = cache
        self.decoding = decoding
        self.memory: BatchMemory | None = None

    def __len__(self) -> int:
        return len(self.records)

    def batch_bytes(self, batch_size: int) -> int:
        """Size of the images of a batch, bytes."""
        return batch_size * self.image_size**2 * 3

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "memory": None}  # it is shared by forking only

    def _cached(self, position: int, make: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The image of the cache, or what ``make`` gives, which is then stored."""
        pixels = None if self.cache is None else self.cache.get(position)
        if pixels is None:
            pixels = make()
            if self.cache is not None:
                self.cache.put(position, pixels)
        return pixels


class TrainDataset(ImageDataset):
    """Training images; a batch is requested by `SampledIndices`, which decide its augmentation.

    Args:
        records: Where the images are.
        labels: int64 (N,), their class indices.
        transform: The augmentation.
        seed: The run's seed.
        cache: Holds images as ``reduce_to`` makes them; None: every image is decoded.
        reduce_to: Shorter side that images are reduced to before the random crop, pixels; None: not reduced.
        decoding: What to do about large, transparent and deep images.
        plan: How large images are and how batches are mixed; None: all alike, and not mixed.

    Raises:
        ValueError: There is a cache, but images are not reduced: how much of a JPEG is decoded then depends on the
            crop, so what is kept would not be what is decoded.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        labels: NDArray[np.int64],
        transform: TrainTransform,
        seed: int,
        *,
        cache: Cache | None = None,
        reduce_to: int | None = None,
        decoding: Decoding = DEFAULT,
        plan: BatchPlan | None = None,
    ) -> None:
        if cache is not None and reduce_to is None:
            raise ValueError("a cache of training images needs reduce_to, the size that they are kept in")
        sizes, self.mixer = plan or BatchPlan()
        largest = transform.image_size if sizes is None else max(sizes.distinct())
        super().__init__(records, labels, largest, cache, decoding)
        self.transform = transform
        self.sizes = sizes
        self._transforms: dict[tuple[int, bool], TrainTransform] = {}
        self.seed = seed
        self.reduce_to = reduce_to
        share = transform.config.random_erasing
        self.erasing = RandomErasing(share, seed) if share > 0 else None

    def __getitems__(self, samples: SampledIndices) -> ClassificationBatch:
        """One batch: images uint8 (B, 3, S, S), channels last, and their colour maps."""
        transform = self._transform_of(samples.epoch)
        randoms = transform.randoms(self.seed, samples.epoch, samples.positions)

        def fill(pixels: Tensor) -> dict[str, Any]:
            images = pixels.permute(0, 3, 1, 2)
            for number, position in enumerate(samples.indices.tolist()):
                self._write(position, transform, randoms[number], images[number : number + 1])
            maps = transform.finish(pixels, randoms)
            on_device = {} if maps is None else {"colour_maps": maps}
            return on_device | self._of_positions(samples, transform.image_size)

        return make_batch(self.memory, transform.image_size, self.labels[samples.indices], samples.indices, fill)

    def _transform_of(self, epoch: int) -> TrainTransform:
        """The augmentation for the size of an epoch's images."""
        if self.sizes is None:
            return self.transform
        size, is_final = self.sizes.at(epoch), self.sizes.is_final(epoch)
        if (size, is_final) not in self._transforms:
            kind = CentredTransform if is_final else TrainTransform
            preprocessing = replace(self.transform.preprocessing, image_size=size)
            self._transforms[size, is_final] = kind(preprocessing, self.transform.config)
        return self._transforms[size, is_final]

    def _of_positions(self, samples: SampledIndices, image_size: int) -> dict[str, Any]:
        """What the device is to do with a batch besides its colours: it follows from the positions alone."""
        todo: dict[str, Any] = {}
        if self.erasing is not None:
            todo["erased"] = self.erasing.rectangles(samples.epoch, samples.positions, image_size)
        if self.mixer is not None and len(samples):
            mix = self.mixer.sample(samples.epoch, int(samples.positions[0]), len(samples), image_size)
            if mix is not None:
                todo["mix"] = mix
        return todo

    def _write(self, position: int, transform: TrainTransform, random: Randomness, output: Tensor) -> None:
        short_side = self.reduce_to
        if short_side is not None:
            pixels = self._cached(
                position, lambda: reduce_image(self._open(position), short_side, transform.interpolation)
            )
            crop = transform.crop((pixels.shape[1], pixels.shape[0]), random)
        else:
            image = self._open(position)
            whole = transform.crop(image.size, random)
            shrink = transform.shrink(whole)
            pixels, crop = image.decode(shrink), whole.shrunk(shrink)
        transform(crop.of(pixels), random, output)

    def _open(self, position: int) -> EncodedImage:
        record = self.records[position]
        return EncodedImage(read_image_bytes(record), str(record), decoding=self.decoding)


class EvaluationDataset(ImageDataset):
    """Images to score on, prepared exactly as the deployed model prepares them.

    Args:
        records: Where the images are.
        labels: int64 (N,), their class indices.
        preprocessing: The model's preprocessing.
        cache: Holds images resized for evaluation, or whole where they are smaller; None: every image is decoded.
        tta: Test-time augmentation, which gives a batch of B images V B rows of pixels, see `__getitems__`.
    """

    def __init__(
        self,
        records: Sequence[ImageRecord],
        labels: NDArray[np.int64],
        preprocessing: Preprocessing,
        *,
        cache: Cache | None = None,
        tta: TestTimeAugmentation = "none",
    ) -> None:
        super().__init__(records, labels, preprocessing.image_size, cache, preprocessing.decoding)
        self.preprocessing = preprocessing
        self.tta = tta

    def batch_bytes(self, batch_size: int) -> int:
        """Size of the images of a batch with all views, bytes."""
        return NUM_VIEWS[self.tta] * super().batch_bytes(batch_size)

    def __getitems__(self, positions: Sequence[int]) -> ClassificationBatch:
        """One batch: images uint8 (V B, 3, S, S), channels last: all first views, then all second ones, and so on."""
        indices, num_views = np.asarray(positions, np.int64), NUM_VIEWS[self.tta]

        def fill(pixels: Tensor) -> dict[str, Any]:
            squares = pixels.numpy().reshape(num_views, len(indices), *pixels.shape[1:])
            for number, position in enumerate(indices.tolist()):
                for view, square in enumerate(self._views(position)):
                    squares[view, number] = square
            return {}

        return make_batch(self.memory, self.image_size, self.labels[indices], indices, fill, num_views)

    def _views(self, position: int) -> list[NDArray[np.uint8]]:
        def resized() -> NDArray[np.uint8]:
            decoded = decode_image(self.records[position], decoding=self.decoding)
            return resized_for_evaluation(decoded, self.preprocessing)

        kept = self._cached(position, resized)
        is_resized = min(kept.shape[:2]) == self.preprocessing.resize_size and can_be_resized_whole(kept)
        return make_views(kept, self.preprocessing, self.tta, is_resized=is_resized)


def reducing_filter(interpolation: Interpolation) -> Interpolation:
    """The filter that training images are reduced with: bicubic, but the nearest pixel where that is asked for."""
    return "nearest" if interpolation == "nearest" else "bicubic"


def reduce_image(image: EncodedImage, short_side: int, interpolation: Interpolation = "bicubic") -> NDArray[np.uint8]:
    """A training image as it is cropped from, and as a cache keeps it; a longer short side becomes ``short_side``.

    ``interpolation`` is that of the model's input, see `reducing_filter`.

    Returns:
        uint8 (h, w, 3), of the size that `stored_size` gives; an image that is never stored stays as it is.
    """
    size = stored_size(*image.size, short_side)
    if size in {image.size, (0, 0)}:
        return image.decode()
    used = reducing_filter(interpolation)
    # a JPEG that is decoded smaller has means of pixels, and no longer the nearest one
    shrink = 1 if used == "nearest" else largest_shrink(min(image.size), short_side)
    return reduced(image.decode(shrink), size, used)


def resized_for_evaluation(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """A decoded evaluation image as a cache keeps it: resized, if it gets smaller and can be resized whole."""
    if min(pixels.shape[:2]) <= preprocessing.resize_size or not can_be_resized_whole(pixels):
        return pixels
    return resize(pixels, preprocessing)
