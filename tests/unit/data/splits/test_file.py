from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from classifier_training.data.index.check import BadImage, Facts
from classifier_training.data.index.table import Index, write_index
from classifier_training.data.photos import Photos
from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.splits import file as file_module
from classifier_training.data.splits import recorded as recorded_module
from classifier_training.data.splits.file import COLUMNS, LEFT_OUT, read_digests, read_split, write_split
from classifier_training.errors import DataError
from classifier_training.files.tables import write_table
from classifier_training.types import ImageRecord, Sample, Split

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
    r"\u000a",
    " x ",
    "日本語",
    "left out",
    "train",
    "\ufeff",
]


def make_photos(tmp_path: Path, splits: Mapping[Split, Sequence[Sample]], bad: tuple[BadImage, ...] = ()) -> Photos:
    """Photos that need not exist."""
    writer, rows, count = RowWriter(), dict[Split, NDArray[np.int64]](), 0
    for split, samples in splits.items():
        for sample in samples:
            folder, name = sample.image.path.rsplit("/", 1)
            size = sample.image.size
            if size is None:
                writer.add(folder, [name], [sample.label])
            else:
                image = sample.image
                writer.add(image.path, [image.member], [sample.label], offsets=[image.offset], sizes=[size])
        rows[split] = np.arange(count, count + len(samples))
        count += len(samples)
    write_index(tmp_path / "photos.arrow", Listing("", writer.table()), Facts.empty(count))
    return Photos("/photos", (), Index(tmp_path / "photos.arrow"), rows, bad, (), (), "", "")


def sample(path: str, label: str) -> Sample:
    return Sample(ImageRecord(path), label)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    train = [sample(f"/photos/{number}/ü,\n\r{number}.png", name) for number, name in enumerate(NASTY)]
    val = [Sample(ImageRecord("/shards/0.tar", 512, 1000, "a/b.jpg"), "")]
    path = tmp_path / "data" / "split.csv"
    bad = (BadImage("/photos/bad.png", "bad.png: empty, really"),)

    write_split(path, make_photos(tmp_path, {"train": train, "val": val}, bad))

    assert read_split(path, "train") == train
    assert read_split(path, "val") == val
    assert set(read_digests(path, "val")) == {"/shards/0.tar::a/b.jpg"}


def test_millions_of_rows_are_read_by_columns_and_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = [sample(f"/photos/{number}/ü,\n\r{number}.png", name) for number, name in enumerate(NASTY * 3)]
    packed = [Sample(ImageRecord("/shards/0.tar", 512 * row, 100, f"a/{row}.jpg"), "x") for row in range(3)]
    path = tmp_path / "split.csv"
    write_split(path, make_photos(tmp_path, {"train": [*train, *packed], "val": packed[:1]}))
    by_rows = read_split(path, "train")

    monkeypatch.setattr(file_module, "MIN_BYTES_COLUMNAR", 0)
    monkeypatch.setattr(recorded_module, "_BLOCK_BYTES", 400)
    by_columns = read_split(path, "train")

    assert by_columns == by_rows == [*train, *packed]
    assert (by_columns.digests == by_rows.digests).all()
    assert [by_columns[position] for position in (0, 20, -1)] == [by_rows[position] for position in (0, 20, -1)]
    assert by_columns[3:7] == by_rows[3:7]
    assert read_split(path, "val") == packed[:1]


@pytest.mark.parametrize("cell", ["1.5", "x", "-1", "1_0", "99999999999999999999"])
def test_an_offset_that_is_not_a_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    path = tmp_path / "split.csv"
    path.write_text(f"split,label,path,digest,offset,size,member,reason\nval,a,/s.tar,,{cell},3,m.png,\n")
    monkeypatch.setattr(file_module, "MIN_BYTES_COLUMNAR", 0)

    with pytest.raises(DataError, match=rf"{path} is not the split file of a run: it has an offset or a size"):
        read_split(path, "val")


def test_lines_by_columns_are_those_of_the_table_writer(tmp_path: Path) -> None:
    samples = [sample(f"/p,/{number}/{name.replace('/', '')}{number}", name) for number, name in enumerate(NASTY)]
    write_split(tmp_path / "split.csv", make_photos(tmp_path, {"train": samples}))
    rows = [("train", one.label, one.image.path, "0" * 32, "", "", "", "") for one in samples]
    write_table(tmp_path / "rows.csv", COLUMNS, rows)

    assert (tmp_path / "split.csv").read_bytes() == (tmp_path / "rows.csv").read_bytes()


def test_a_file_of_the_first_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text('"split","label","path","digest","reason"\n"val","cat","/x/0.png","ab",""\n')

    assert read_split(path, "val") == [sample("/x/0.png", "cat")]


def test_what_was_left_out_is_listed_with_its_reason(tmp_path: Path) -> None:
    bad = (BadImage("/x/1.png", "cannot read /x/1.png: the file is empty"), BadImage("/x/2.png", "two, reasons"))
    write_split(tmp_path / "split.csv", make_photos(tmp_path, {"train": [sample("/x/0.png", "a")]}, bad))

    with (tmp_path / "split.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    assert list(rows[0].values()) == ["train", "a", "/x/0.png", "0" * 32, "", "", "", ""]
    assert [(row["split"], row["path"], row["reason"]) for row in rows[1:]] == [
        (LEFT_OUT, image.path, image.reason) for image in bad
    ]


def test_a_split_that_the_run_had_not(tmp_path: Path) -> None:
    write_split(tmp_path / "split.csv", make_photos(tmp_path, {"train": [sample("/x/0.png", "a")]}))

    with pytest.raises(DataError, match="the run had no test split; name photos"):
        read_split(tmp_path / "split.csv", "test")


@pytest.mark.parametrize("content", [b"image,label\nx,y\n", b"split,label,path\ntrain,\xff,x\n"])
def test_a_foreign_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(content)

    with pytest.raises(DataError, match=rf"{path} is not the split file of a run"):
        read_split(path, "train")
    with pytest.raises(DataError, match=rf"cannot read the run's split from {tmp_path}/no\.csv: no such file"):
        read_split(tmp_path / "no.csv", "train")


def test_reading_a_split_needs_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys, classifier_training.data.splits.file, classifier_training.evaluation.photos\n"
        "sys.exit(', '.join({'torch', 'pydantic', 'lightning', 'pyarrow', 'yaml'} & set(sys.modules)) or None)"
    )
    paths = [str(Path(__file__).parents[4] / "src"), *(entry for entry in sys.path if "site-packages" in entry)]
    start = f"import sys; sys.path[:0] = {paths!r}\n"

    finished = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + code], capture_output=True, text=True, check=False
    )

    assert (finished.returncode, finished.stderr) == (0, "")
