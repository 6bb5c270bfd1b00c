"""What one tar shard holds: images with their labels, grouped as WebDataset groups them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Final, Literal

from classifier_training.data.sources.tar_members import Member, tar_members
from classifier_training.errors import DataError
from classifier_training.files.hidden import is_left_behind
from classifier_training.imaging.decode import IMAGE_EXTENSIONS

LABEL_FIELDS: Final = ("label", "cls", "class")
"""Fields of a ``.json`` member that may hold the label, the first that exists counts."""
# WebDataset's rule: the key ends at the first dot of the base name; what has no key is not part of the data.
_KEY: Final = re.compile(r"((?:.*/|)[^./]+)\.([^/]*)", re.DOTALL)
_MAX_LABEL_BYTES: Final = 1 << 20


@dataclass(slots=True)
class ShardSamples:
    """The images of one shard, as columns.

    Attributes:
        names: Member name of each image.
        labels: Its label, as in the shard.
        offsets: Where it begins, bytes.
        sizes: How long it is, bytes.
        key_hashes: `hash` of its key.
        num_unlabelled: How many images without a label were left out.
        skipped: What systems and programs have left in it.
    """

    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    key_hashes: list[int] = field(default_factory=list)
    num_unlabelled: int = 0
    skipped: set[str] = field(default_factory=set)


def read_shard(path: str, on_missing_label: Literal["raise", "skip"] = "raise") -> ShardSamples:
    """Lists the images of a shard, reading headers and labels only; the files of a key may lie anywhere in it.

    Args:
        path: A tar file of ``key.jpg`` and ``key.cls``, or ``key.json`` with a label in it.
        on_missing_label: What to do about an image without a label: stop, or leave it out.

    Raises:
        DataError: The shard is damaged or hostile; a key has no image, no label, or two of them.
    """
    samples = ShardSamples()
    by_key: dict[str, list[_Part]] = {}
    for part in _parts(path, samples.skipped):
        by_key.setdefault(part.key, []).append(part)
    for key, parts in by_key.items():
        image, label = _sample(path, key, parts)
        if not label or not label.strip():
            if on_missing_label == "raise":
                raise _unlabelled(path, key, parts, is_empty=label is not None)
            samples.num_unlabelled += 1
            continue
        samples.names.append(image.name)
        samples.labels.append(label)
        samples.offsets.append(image.offset)
        samples.sizes.append(image.size)
        samples.key_hashes.append(hash(key))
    return samples


def key_of(name: str) -> str:
    """The key of a member: its name up to the first dot of the base name."""
    found = _KEY.fullmatch(name)
    return name if found is None else found[1]


@dataclass(frozen=True, slots=True)
class _Part:
    key: str
    extension: str
    member: Member
    label: str | None


def _parts(path: str, skipped: set[str]) -> Iterator[_Part]:
    """The members that belong to a key, in their order, with the label of those that hold one."""
    for member, file in tar_members(path):
        *folders, _ = member.name.split("/")
        behind = next((folder for folder in folders if is_left_behind(folder) or folder == ".ipynb_checkpoints"), None)
        if behind is not None:
            skipped.add(f"{member.name}/{behind}")
            continue
        found = _KEY.fullmatch(member.name)
        if found is not None:
            extension, label = found[2].lower(), None
            if extension in {"cls", "json"}:
                label = _label(f"{path}::{member.name}", extension, _label_bytes(path, member, file))
            yield _Part(found[1], extension, member, label)


def _label_bytes(path: str, member: Member, file: IO[bytes]) -> bytes:
    if member.size > _MAX_LABEL_BYTES:
        raise DataError(f"{path}::{member.name} holds a label and has {member.size} bytes; 1 MB is the most")
    file.seek(member.offset)
    return file.read(member.size)


def _sample(path: str, key: str, parts: Sequence[_Part]) -> tuple[Member, str | None]:
    """The image of a key, and its label."""
    extensions = [part.extension for part in parts]
    twice = next((part.extension for part in parts if extensions.count(part.extension) > 1), None)
    if twice is not None:
        raise DataError(
            f"{path}: the key {key!r} has two files with the extension .{twice}; no two images may share a key"
        )
    images = [part.member for part in parts if f".{part.extension}" in IMAGE_EXTENSIONS]
    if len(images) > 1:
        raise DataError(f"{path}: the key {key!r} has two images, {images[0].name} and {images[1].name}")
    if not images:
        present = ", ".join(f".{extension}" for extension in sorted(extensions))
        raise DataError(
            f"{path}: the key {key!r} has no image, only {present} (the key is the name up to its first dot)"
        )
    labels = {part.extension: part.label for part in parts if part.label is not None}
    return images[0], labels.get("cls", labels.get("json"))


def _unlabelled(path: str, key: str, parts: Sequence[_Part], *, is_empty: bool) -> DataError:
    if is_empty:
        return DataError(
            f"{path}: the label of the key {key!r} is empty; write it, or leave such images out with"
            " data.on_missing_label=skip"
        )
    present = ", ".join(f".{extension}" for extension in sorted(part.extension for part in parts))
    return DataError(
        f"{path}: the key {key!r} has an image and no label, only {present}; expected {key}.cls, or {key}.json with"
        f" one of the fields {', '.join(LABEL_FIELDS)}"
    )


def _label(where: str, extension: str, content: bytes) -> str | None:
    """The text of a label; None where a ``.json`` member has none."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{where} holds a label that is not UTF-8 text") from None
    if extension == "cls":
        return re.sub(r"\r?\n\Z", "", text)  # editors and echo end a file with it
    try:
        # numbers keep their text: 1e3 is a class name, not 1000.0
        values = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise DataError(f"{where} is not JSON") from None
    if not isinstance(values, dict):
        return None
    value = next((values[name] for name in LABEL_FIELDS if values.get(name) is not None), None)
    if isinstance(value, list | dict):
        raise DataError(f"{where} holds a label that is a {type(value).__name__}; allowed are text and numbers")
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)
