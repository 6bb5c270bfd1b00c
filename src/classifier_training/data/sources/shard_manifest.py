"""``prepare.json``: which shards belong together, so that a missing or cut off one is noticed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from classifier_training.errors import DataError
from classifier_training.files.atomic import write_json

MANIFEST: Final = "prepare.json"
FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One finished shard.

    Attributes:
        file: Its name.
        first: Position of its first image in its split.
        count: Number of images.
        num_bytes: Size of the file.
        inputs: Hash of the keys, the labels and the contents of its images before they were packed.
        digest: Hash of the file.
    """

    file: str
    first: int
    count: int
    num_bytes: int
    inputs: str
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a folder of shards.

    Attributes:
        made_of: What decides the shards: hash of the photos, size, shard size. Plain values.
        shards: The finished ones, by file name.
        is_complete: Whether all shards are finished.
    """

    made_of: Mapping[str, Any]
    shards: Mapping[str, ShardEntry] = field(default_factory=dict)
    is_complete: bool = False

    def with_shard(self, entry: ShardEntry) -> Manifest:
        """The manifest when one more shard is finished."""
        return replace(self, shards={**self.shards, entry.file: entry})

    def write(self, folder: Path) -> None:
        """Writes it into the folder, whole or not at all."""
        values = {
            "version": FORMAT_VERSION,
            "made_of": dict(self.made_of),
            "is_complete": self.is_complete,
            "shards": [asdict(entry) for entry in self.shards.values()],
        }
        write_json(folder / MANIFEST, values)


def read_manifest(path: Path) -> Manifest:
    """Reads a ``prepare.json``.

    Raises:
        DataError: It is not a manifest, or of another version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["version"] != FORMAT_VERSION:
            raise DataError(f"{path} is of version {values['version']}, not {FORMAT_VERSION}; prepare the photos again")
        entries = [ShardEntry(**entry) for entry in values["shards"]]
        return Manifest(values["made_of"], {entry.file: entry for entry in entries}, values["is_complete"])
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path} is not what classifier-training prepare writes; prepare the photos again") from None


def check_shards(manifest: Manifest, location: str, sizes: Mapping[str, int]) -> None:
    """Refuses a folder, human-readable, that does not match its manifest by the sizes of its shards, in bytes.

    Raises:
        DataError: The shards were not finished, or one is missing or of another length.
    """
    if not manifest.is_complete:
        raise DataError(f"{location} is not finished; run the same classifier-training prepare again, it continues")
    missing = [file for file in manifest.shards if file not in sizes]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(manifest.shards)} shards of {location} are missing: {missing[0]}, …"
        )
    for file, entry in manifest.shards.items():
        if sizes[file] != entry.num_bytes:
            raise DataError(
                f"{location}: {file} has {sizes[file]} bytes and not {entry.num_bytes} as in {MANIFEST}; copy it again"
            )
