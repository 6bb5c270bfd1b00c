"""Makers of small tar shards and Parquet files, byte by byte as other programs write them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def photo_bytes(seed: int, size: tuple[int, int] = (20, 16), kind: str = "PNG") -> bytes:
    """An image file that depends on the seed alone."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str | tarfile.TarInfo, bytes]], *, webdataset: bool = False) -> Path:
    """Writes a tar file.

    Args:
        path: The file; its folder is made.
        members: Name, or the whole header, and content of each member.
        webdataset: Mark each member with a fraction of a second, as WebDataset's writer does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for named, content in members:
            info = tarfile.TarInfo(named) if isinstance(named, str) else named
            if isinstance(named, str) or info.isreg():
                info.size = len(content)
            if webdataset:
                info.mtime = 1_700_000_000.25  # tarfile writes it as an extended header
            tar.addfile(info, io.BytesIO(content))
    return path


def write_shard(
    path: Path,
    labels: Sequence[str],
    *,
    first: int = 0,
    prefix: str = "",
    extension: str = "png",
    as_json: bool = False,
    webdataset: bool = False,
) -> Path:
    """Writes a shard with one image for each label; keys and images are numbered from ``first``."""
    members: list[tuple[str | tarfile.TarInfo, bytes]] = []
    for number, label in enumerate(labels, start=first):
        key = f"{prefix}{number:05d}"
        members.append((f"{key}.{extension}", photo_bytes(number)))
        if as_json:
            members.append((f"{key}.json", json.dumps({"label": label}).encode()))
        else:
            members.append((f"{key}.cls", label.encode()))
    return write_tar(path, members, webdataset=webdataset)


def write_hub_parquet(
    path: Path,
    labels: Sequence[object],
    *,
    names: Sequence[str] | None = None,
    first: int = 0,
    columns: tuple[str, str] = ("image", "label"),
    images: Sequence[Mapping[str, object] | None] | None = None,
    extra: Mapping[str, Sequence[object]] | None = None,
    row_group_size: int = 2,
) -> Path:
    """Writes a Parquet file as the Hugging Face hub stores image sets.

    Args:
        path: The file; its folder is made.
        labels: One a row: indices, or text.
        names: Class names, written into the schema's metadata; None: none.
        first: Number of the first image.
        columns: Names of the image and of the label column.
        images: ``{"bytes", "path"}`` of each row; None makes them.
        extra: More columns.
        row_group_size: Rows a row group.
    """
    import pyarrow as pa
    from pyarrow import parquet

    image, label = columns
    made = images if images is not None else [
        {"bytes": photo_bytes(number), "path": f"{number:05d}.png"} for number in range(first, first + len(labels))
    ]  # fmt: skip
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({image: pa.array(made, kind), label: pa.array(labels), **(extra or {})})
    features: dict[str, object] = {image: {"_type": "Image"}}
    if names is not None:
        features[label] = {"names": list(names), "_type": "ClassLabel"}
    about = {"info": {"features": features}}
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(about)}), path, row_group_size=row_group_size
    )
    return path
