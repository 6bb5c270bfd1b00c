"""Small copies of images as a model sees them, each made once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier_training.errors import BadImageError
from classifier_training.figures.rendering import PlottingBudget
from classifier_training.files.atomic import atomic_path
from classifier_training.imaging.decode import read_image_bytes
from classifier_training.imaging.jpeg import EncodedImage, largest_shrink
from classifier_training.imaging.preprocess import resize_and_crop
from classifier_training.types import ImageRecord, Preprocessing

DigestOf = Callable[[int], str]
"""Gives the content hash of an image by its position in the split, as hexadecimal digits."""

_QUALITY: Final = 85
_HEAD: Final = 256  # bytes at the beginning of a JPEG that hold its comment
_CAM: Final = "-cam"
_OVERLAY_SHARE: Final = 0.5


class Thumbnails:
    """The folder of the small images of one split.

    Each holds, as the JPEG's comment, of which content and preprocessing it was made, and how large: so it is found
    again by the next epoch and by a resumed run, and not taken for that of another image.

    Args:
        folder: Where they are.
        records: Where the images are, by position in the split.
        preprocessing: How the model saw them.
        digest_of: The contents that were scored: an image whose file has another one by now is not shown. None: the
            files as they are.

    Attributes:
        num_postponed: How many were requested while there was no time to make them.
    """

    def __init__(
        self,
        folder: Path,
        records: Sequence[ImageRecord],
        preprocessing: Preprocessing,
        digest_of: DigestOf | None = None,
    ) -> None:
        self.folder = folder
        self.records = records
        self.preprocessing = preprocessing
        self.digest_of = digest_of
        self.num_postponed = 0

    def make(self, index: int, side: int, budget: PlottingBudget | None = None) -> Path | None:
        """The file of a small image; made unless one exists that is large enough.

        Args:
            index: Position of the image in the split.
            side: Largest side, pixels.
            budget: None is made while it is closed.

        Returns:
            None where the image cannot be read, or there was no time.
        """
        path = self.folder / f"{index}.jpg"
        digest, side = self._digest(index), self._side(side)
        if digest is None or self._has(path, self._mark(digest), side):
            return None if digest is None else path
        if budget is None:
            return self._write(path, index, side, digest)
        if not budget.is_open:
            self.num_postponed += 1
            return None
        with budget.spending():
            return self._write(path, index, side, digest)

    def make_all(self, sides: Mapping[int, int], budget: PlottingBudget | None = None) -> dict[int, Path | None]:
        """Several images' files, as `make` gives each.

        Args:
            sides: Largest side of each, pixels, by its position in the split; the most important ones first.
            budget: As of `make`; without one, several threads work at it.
        """
        if budget is not None:
            return {index: self.make(index, side, budget) for index, side in sides.items()}
        return dict(zip(sides, in_threads(lambda one: self.make(*one), sides.items()), strict=True))

    def pixels(self, index: int, side: int) -> NDArray[np.uint8] | None:
        """An image as the model saw it, made smaller: uint8 (s, s, 3); None where it cannot be read or has changed."""
        return self._pixels(index, side, None if self.digest_of is None else self.digest_of(index))

    def _pixels(self, index: int, side: int, digest: str | None) -> NDArray[np.uint8] | None:
        smaller = replace(self.preprocessing, image_size=self._side(side))
        record = self.records[index]
        try:
            content = read_image_bytes(record)
            if digest is not None and _digest(content) != digest:
                return None
            image = EncodedImage(content, str(record), decoding=self.preprocessing.decoding)
            is_nearest = smaller.interpolation == "nearest"  # of the whole image, see `reduce_image`
            decoded = image.decode(1 if is_nearest else largest_shrink(min(image.size), smaller.resize_size))
        except BadImageError:
            return None
        return resize_and_crop(decoded, smaller)

    def overlay(self, index: int, side: int, importance: NDArray[np.float32]) -> Path | None:
        """Writes an image with its Grad-CAM map over it; None where the image cannot be read.

        Args:
            index: Position of the image in the split.
            side: Largest side, pixels.
            importance: float32 (h, w) in [0, 1].
        """
        digest = self._digest(index)
        pixels = None if digest is None else self._pixels(index, side, digest)
        if digest is None or pixels is None:
            return None
        path = self.folder / f"{index}{_CAM}.jpg"
        _save(path, overlaid(pixels, importance), self._mark(digest), len(pixels))
        return path

    def remove_others(self, names: Collection[str], *, keep_valid: bool = False) -> None:
        """Removes the files that are not shown.

        Args:
            names: Those that are shown.
            keep_valid: Keep those, too, that were made of the images as they are; overlays are removed.
        """
        if not self.folder.is_dir():
            return
        for path in self.folder.glob("*.jpg"):
            if path.name not in names and not (keep_valid and self._is_valid(path)):
                path.unlink(missing_ok=True)

    def _is_valid(self, path: Path) -> bool:
        if not path.stem.isdecimal() or int(path.stem) >= len(self.records):
            return False
        digest = self._digest(int(path.stem))
        return digest is not None and self._has(path, self._mark(digest), 0)

    def _side(self, side: int) -> int:
        """Nothing is gained by an image larger than the model saw it."""
        return min(side, self.preprocessing.image_size)

    def _digest(self, index: int) -> str | None:
        """The hash of an image's content; None where only its file could tell and cannot be read."""
        if self.digest_of is not None:
            return self.digest_of(index)
        try:
            return _digest(read_image_bytes(self.records[index]))
        except BadImageError:
            return None

    def _mark(self, digest: str) -> str:
        """Differs for images of different content, and for those that a model saw differently."""
        prepared = (self.preprocessing.crop_pct, self.preprocessing.interpolation, self.preprocessing.image_size)
        colours = (self.preprocessing.background, self.preprocessing.integer_range)
        return hashlib.blake2b(repr((digest, prepared, colours)).encode(), digest_size=8).hexdigest()

    def _has(self, path: Path, mark: str, side: int) -> bool:
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD)
        except OSError:
            return False
        begin = head.find(f"of {mark}, ".encode())
        size = head[begin : begin + 32].split()[2:3] if begin >= 0 else []
        return bool(size) and size[0].isdigit() and int(size[0]) >= side

    def _write(self, path: Path, index: int, side: int, digest: str) -> Path | None:
        pixels = self._pixels(index, side, digest)
        if pixels is None:
            return None
        _save(path, pixels, self._mark(digest), side)
        return path


def overlaid(pixels: NDArray[np.uint8], importance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image in grey, coloured by importance.

    Args:
        pixels: uint8 (H, W, 3).
        importance: float32 (h, w) in [0, 1]; enlarged smoothly.

    Returns:
        uint8 (H, W, 3).
    """
    from matplotlib import colormaps

    size = pixels.shape[1], pixels.shape[0]
    enlarged = np.asarray(Image.fromarray(importance).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)
    colours = colormaps["inferno"](enlarged)[..., :3] * 255
    grey = np.asarray(Image.fromarray(pixels).convert("L"), dtype=np.float64)[..., None]
    mixed: NDArray[np.float64] = _OVERLAY_SHARE * colours + (1 - _OVERLAY_SHARE) * grey
    return mixed.round().astype(np.uint8)


def _digest(content: bytes) -> str:
    """The content hash as the index has it, as hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _save(path: Path, pixels: NDArray[np.uint8], mark: str, side: int) -> None:
    with atomic_path(path, durable=False) as temporary:
        Image.fromarray(pixels).save(temporary, "JPEG", quality=_QUALITY, comment=f"of {mark}, {side} pixels")


_MAX_THREADS: Final = 8

Item = TypeVar("Item")
Made = TypeVar("Made")


def in_threads(make: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """The result for each item, in order; an exception is raised as in a loop."""
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="images") as pool:
        return list(pool.map(make, items))
