"""Makers of small photo folders and tables of photos."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def make_photo(path: Path, seed: int, size: tuple[int, int] = (20, 16)) -> Path:
    """Writes an image whose bytes depend on the seed alone.

    Args:
        path: The file; its folder is made.
        seed: Another seed gives another image.
        size: Width and height, pixels.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    extension = path.suffix.lower()
    Image.fromarray(pixels).save(path, "JPEG" if extension in {".jpg", ".jpeg"} else "PNG")
    return path


def make_photos(root: Path, counts: Mapping[str, int], first_seed: int = 0) -> Path:
    """Writes ``root/<folder>/0.png, 1.png …``, all different.

    Args:
        root: The folder to fill.
        counts: Number of images by folder, such as ``{"train/cat": 3, "val/cat": 1}``.
        first_seed: Seed of the first image; the next ones count on.

    Returns:
        ``root``.
    """
    root.mkdir(parents=True, exist_ok=True)
    seed = first_seed
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            make_photo(root / folder / f"{number}.png", seed)
            seed += 1
    return root


def make_split_photos(root: Path, train: int = 6, val: int = 3, test: int = 3) -> Path:
    """Writes ``root/{train,val,test}/{cat,dog}`` with that many images of each class; 0 makes no such split."""
    counts = {"train": train, "val": val, "test": test}
    return make_photos(root, {f"{split}/{name}": n for split, n in counts.items() if n for name in ("cat", "dog")})


def write_table(path: Path, rows: Sequence[Mapping[str, object]], *, delimiter: str = ",", bom: bool = False) -> Path:
    """Writes a csv, jsonl or parquet table; the columns are the keys of the first row.

    Args:
        path: The file; its name decides the format.
        rows: The rows.
        delimiter: Of a csv table.
        bom: Whether a csv table begins with a byte order mark, as Excel writes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


def photo_rows(root: Path, labels: Iterable[str], first_seed: int = 0) -> list[dict[str, object]]:
    """Writes one image for each label below ``root/images`` and gives table rows ``{"image", "label"}`` for them."""
    rows: list[dict[str, object]] = []
    for number, label in enumerate(labels):
        name = f"images/{first_seed + number}.png"
        make_photo(root / name, first_seed + number)
        rows.append({"image": name, "label": label})
    return rows
