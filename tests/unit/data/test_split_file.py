from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from classifier_training.data.inspect import BadImage
from classifier_training.data.photos import Photos
from classifier_training.data.sources.listing import Split
from classifier_training.data.split_file import LEFT_OUT, read_split, write_split
from classifier_training.errors import DataError
from classifier_training.types import Sample

NASTY = [
    "",
    "00",
    "no",
    "1e3",
    "a,b",
    'q"q',
    "two\nlines",
    "a\r\nb",
    "\r",
    " x ",
    "日本語",
    "left out",
    "train",
    "\ufeff",
]


def photos(splits: dict[Split, tuple[Sample, ...]], bad: tuple[BadImage, ...] = ()) -> Photos:
    return Photos(Path("/photos"), "", (), splits, bad, (), (), {}, "")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    train = tuple(Sample(f"/photos/{name}/ü,\n.png", name) for name in NASTY)
    val = (Sample("/photos/v.png", ""),)
    path = tmp_path / "data" / "split.csv"

    write_split(path, photos({"train": train, "val": val}, (BadImage("/photos/bad.png", "bad.png: empty, really"),)))

    assert read_split(path, "train") == list(train)
    assert read_split(path, "val") == list(val)


def test_what_was_left_out_is_listed_with_its_reason(tmp_path: Path) -> None:
    bad = (BadImage("/x/1.png", "cannot read /x/1.png: the file is empty"), BadImage("/x/2.png", "two, reasons"))
    write_split(tmp_path / "split.csv", photos({"train": (Sample("/x/0.png", "a"),)}, bad))

    with (tmp_path / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert rows[0] == {"split": "train", "label": "a", "path": "/x/0.png", "digest": "", "reason": ""}
    assert [(row["split"], row["path"], row["reason"]) for row in rows[1:]] == [
        (LEFT_OUT, image.path, image.reason) for image in bad
    ]


def test_a_split_that_the_run_had_not(tmp_path: Path) -> None:
    write_split(tmp_path / "split.csv", photos({"train": (Sample("/x/0.png", "a"),)}))

    with pytest.raises(DataError, match="the run had no test split; name photos"):
        read_split(tmp_path / "split.csv", "test")


@pytest.mark.parametrize("content", [b"image,label\nx,y\n", b"split,label,path\ntrain,\xff,x\n"])
def test_a_foreign_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(content)

    with pytest.raises(DataError, match=rf"{path} is no split file of a run"):
        read_split(path, "train")
    with pytest.raises(DataError, match=rf"cannot read the run's split from {tmp_path}/no\.csv: no such file"):
        read_split(tmp_path / "no.csv", "train")


def test_reading_a_split_needs_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys, classifier_training.data.split_file, classifier_training.data.labelled\n"
        "sys.exit(', '.join({'torch', 'pydantic', 'lightning', 'pyarrow', 'yaml'} & set(sys.modules)) or None)"
    )
    paths = [str(Path(__file__).parents[3] / "src"), *(entry for entry in sys.path if "site-packages" in entry)]
    start = f"import sys; sys.path[:0] = {paths!r}\n"

    finished = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + code], capture_output=True, text=True, check=False
    )

    assert (finished.returncode, finished.stderr) == (0, "")
