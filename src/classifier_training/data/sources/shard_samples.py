"""What one tar shard holds: images with their labels, grouped as WebDataset groups them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import IO, Final

from classifier_training.data.sources.tar_members import Member, tar_members
from classifier_training.errors import DataError
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
    """

    names: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    key_hashes: list[int] = field(default_factory=list)


def read_shard(path: str) -> ShardSamples:
    """Lists the images of a shard, reading headers and labels only.

    Args:
        path: A tar file of ``key.jpg`` and ``key.cls``, or ``key.json`` with a label in it.

    Raises:
        DataError: The shard is damaged or hostile; a key has no image, no label, or two of them, or comes twice.
    """
    samples = ShardSamples()
    keys: set[str] = set()
    for key, parts in groupby(_parts(path), key=lambda part: part.key):
        if key in keys:
            raise DataError(
                f"{path}: the key {key!r} comes twice, with others between; the files of one key must follow each"
                " other, and no two images may share one"
            )
        keys.add(key)
        image, label = _sample(path, key, parts)
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
    content: bytes | None


def _parts(path: str) -> Iterator[_Part]:
    """The members that belong to a key, in their order, with the bytes of those that may hold a label."""
    for member, file in tar_members(path):
        found = _KEY.fullmatch(member.name)
        if found is not None:
            extension = found[2].lower()
            content = _label_bytes(path, member, file) if extension in {"cls", "json"} else None
            yield _Part(found[1], extension, member, content)


def _label_bytes(path: str, member: Member, file: IO[bytes]) -> bytes:
    if member.size > _MAX_LABEL_BYTES:
        raise DataError(f"{path}::{member.name} holds a label and has {member.size} bytes; 1 MB is the most")
    file.seek(member.offset)
    return file.read(member.size)


def _sample(path: str, key: str, parts: Iterator[_Part]) -> tuple[Member, str]:
    image: Member | None = None
    labels: dict[str, str] = {}
    extensions: set[str] = set()
    for part in parts:
        if part.extension in extensions:
            raise DataError(f"{path}: the key {key!r} has two files with the extension .{part.extension}")
        extensions.add(part.extension)
        if f".{part.extension}" in IMAGE_EXTENSIONS:
            if image is not None:
                raise DataError(f"{path}: the key {key!r} has two images, {image.name} and {part.member.name}")
            image = part.member
        elif part.content is not None:
            label = _label(f"{path}::{part.member.name}", part.extension, part.content)
            if label is not None:
                labels[part.extension] = label
    label = labels.get("cls", labels.get("json"))
    if image is None or label is None:
        raise _incomplete(path, key, extensions, is_image_missing=image is None)
    return image, label


def _incomplete(path: str, key: str, extensions: set[str], *, is_image_missing: bool) -> DataError:
    present = ", ".join(f".{extension}" for extension in sorted(extensions))
    if is_image_missing:
        return DataError(
            f"{path}: the key {key!r} has no image, only {present} (the key is the name up to its first dot)"
        )
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
