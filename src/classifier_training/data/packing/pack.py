"""Packs the photos of a run into tar shards: the same photos give the same bytes, and what is finished is kept."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Final

from PIL import Image

from classifier_training.data.packing.shard_writing import PackedSample, ShardKeys, file_digest, write_shard
from classifier_training.data.photos import Photos
from classifier_training.data.sources.shard_manifest import Manifest, ShardEntry
from classifier_training.files.atomic import write_json
from classifier_training.imaging.decode import DEFAULT, IMAGE_EXTENSIONS, decode_image, read_image_bytes
from classifier_training.imaging.pillow_state import silenced
from classifier_training.types import SPLITS, Decoding, Progress, Split

CLASSES_FILE: Final = "classes.json"
JPEG_QUALITY: Final = 95
_AT_ONCE: Final = 256  # images that are read ahead; bounds the memory
_EXTENSIONS: Final = {"JPEG": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif", "PPM": ".ppm"}


@dataclass(frozen=True, slots=True)
class Packing:
    """How photos are packed.

    Attributes:
        short_side: Longer short sides are reduced to this, pixels; None: no image is changed.
        shard_bytes: A shard is full when it has as many bytes.
        decoding: What to do about large, transparent and deep images that are reduced.
    """

    short_side: int | None
    shard_bytes: int
    decoding: Decoding = DEFAULT


def pack(
    photos: Photos, folder: Path, packing: Packing, manifest: Manifest, progress: Progress | None = None
) -> tuple[Manifest, int]:
    """Writes the shards of all splits, and the class names.

    Args:
        photos: What is packed.
        folder: Where the shards go.
        packing: How.
        manifest: What an earlier call has finished there; such shards are verified and kept.
        progress: Reports how many images are packed.

    Returns:
        The manifest of the finished folder, and how many shards were kept.

    Raises:
        BadImageError: A file can no longer be read.
        OSError: The folder cannot be written.
    """
    packer = _Packer(photos, folder, packing, manifest, progress)
    return packer.run(), packer.num_kept


class _Packer:
    def __init__(
        self, photos: Photos, folder: Path, packing: Packing, manifest: Manifest, progress: Progress | None
    ) -> None:
        self.num_kept = 0
        self._photos = photos
        self._folder = folder
        self._packing = packing
        self._manifest = manifest
        self._progress = progress
        self._num_done = 0

    def run(self) -> Manifest:
        if not self._manifest.shards:
            self._manifest.write(self._folder)  # marks the folder as one of shards
        write_json(self._folder / CLASSES_FILE, list(self._photos.classes))
        files = [file for split in SPLITS if split in self._photos.rows for file in self._pack_split(split)]
        shards = {file: self._manifest.shards[file] for file in files}
        self._manifest = replace(self._manifest, shards=shards, is_complete=True)
        self._manifest.write(self._folder)
        return self._manifest

    def _pack_split(self, split: Split) -> list[str]:
        """Writes the missing shards of a split, and returns the names of all."""
        source = _SplitSource(self._photos, split, self._packing)
        files: list[str] = []
        position = 0
        samples: Iterator[PackedSample] | None = None
        while position < len(source):
            file = f"{split}-{len(files):06d}.tar"
            entry = self._kept(file, position, source)
            if entry is not None:
                samples = None
            else:
                samples = samples or source.samples(position)
                entry = self._write(file, position, source, samples)
            files.append(file)
            position += entry.count
            self._num_done += entry.count
            if self._progress is not None:
                self._progress(self._num_done, sum(map(len, self._photos.rows.values())))
        return files

    def _kept(self, file: str, position: int, source: _SplitSource) -> ShardEntry | None:
        """The entry of an existing shard, if it is as it would be written."""
        entry = self._manifest.shards.get(file)
        path = self._folder / file
        if entry is None or entry.first != position or entry.inputs != source.inputs(position, entry.count):
            return None
        if not path.is_file() or path.stat().st_size != entry.num_bytes or file_digest(path) != entry.digest:
            return None
        self.num_kept += 1
        return entry

    def _write(self, file: str, position: int, source: _SplitSource, samples: Iterator[PackedSample]) -> ShardEntry:
        path = self._folder / file
        count, digest = write_shard(path, samples, self._packing.shard_bytes)
        entry = ShardEntry(file, position, count, path.stat().st_size, source.inputs(position, count), digest)
        self._manifest = replace(self._manifest.with_shard(entry), is_complete=False)
        self._manifest.write(self._folder)
        return entry


class _SplitSource:
    """The images of one split, as they are packed."""

    def __init__(self, photos: Photos, split: Split, packing: Packing) -> None:
        self._records = photos.records(split)
        self._labels = photos.labels(split)
        self._digests = photos.digests(split)
        self._widths = photos.index.widths[self._records.rows]
        self._heights = photos.index.heights[self._records.rows]
        self._classes = photos.classes
        self._keys = ShardKeys(self._records, str(photos.root))
        self._packing = packing

    def __len__(self) -> int:
        return len(self._records)

    def inputs(self, first: int, count: int) -> str:
        """Hash of what decides the bytes of a part of the split."""
        digest = hashlib.blake2b(digest_size=16)
        for position in range(first, min(first + count, len(self))):
            about = f"{self._keys[position]}\0{self._classes[self._labels[position]]}\0"
            digest.update(about.encode() + self._digests[position].tobytes())
        return digest.hexdigest()

    def samples(self, first: int) -> Iterator[PackedSample]:
        """The images from a position on, read and reduced in threads."""
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for start in range(first, len(self), _AT_ONCE):
                yield from pool.map(self._sample, range(start, min(start + _AT_ONCE, len(self))))

    def _sample(self, position: int) -> PackedSample:
        record = self._records[position]
        content = read_image_bytes(record)
        label = self._classes[self._labels[position]]
        side = self._packing.short_side
        if side is not None and min(self._widths[position], self._heights[position]) > side:
            reduced = shrink_image(content, side, str(record), self._packing.decoding)
            return PackedSample(self._keys[position], ".jpg", reduced, label)
        return PackedSample(self._keys[position], _extension(record.member or record.path, content), content, label)


def shrink_image(content: bytes, short_side: int, name: str, decoding: Decoding = DEFAULT) -> bytes:
    """A smaller image, upright, as a JPEG file with all of its colour, from one with longer sides; see `decode_image`.

    Raises:
        BadImageError: It cannot be read.
    """
    decoded = Image.fromarray(decode_image(content, name, decoding=decoding))
    scale = short_side / min(decoded.size)
    width, height = (max(short_side, round(side * scale)) for side in decoded.size)
    file = io.BytesIO()
    resized = decoded.resize((width, height), Image.Resampling.LANCZOS)
    resized.save(file, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    return file.getvalue()


def _extension(name: str, content: bytes) -> str:
    """The extension of an image's name; of one without any that is known, that of its kind."""
    extension = PurePath(name).suffix.lower()
    if extension in IMAGE_EXTENSIONS:
        return extension
    with silenced(), contextlib.suppress(OSError), Image.open(io.BytesIO(content)) as image:
        kind = image.format or ""
        return _EXTENSIONS.get(kind, f".{kind.lower()}")
    return ".jpg"
