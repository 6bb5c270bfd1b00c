from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.helpers.photos import write_table
from tests.helpers.web import serve

from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.table import Columns, find_table, list_split_tables, list_table
from classifier_training.errors import DataError
from classifier_training.types import ImageRecord, Sample, Split

NAMES = ["annotations.csv", "annotations.jsonl", "annotations.parquet"]
CLASS_NAMES = ["00", "012", "no", "1e3", "null", "NaN", "None", "true", "Ünï", "日本語", "🐈", "a,b", 'q"q', " x "]


def labels(path: Path, columns: Columns | None = None) -> list[str]:
    return [sample.label for sample in list_table(path, columns or Columns()).samples()]


def sample(path: str | Path, label: str) -> Sample:
    return Sample(ImageRecord(str(path)), label)


def by_split(listing: Listing) -> dict[Split, list[Sample]]:
    return {split: listing.samples(split) for split in listing.locations}


@pytest.mark.parametrize("name", NAMES)
def test_class_names_are_the_text_in_the_file(tmp_path: Path, name: str) -> None:
    rows = [{"image": f"{number}.png", "label": label} for number, label in enumerate(CLASS_NAMES)]

    listing = list_table(write_table(tmp_path / name, rows), Columns())

    assert listing.samples() == [sample(tmp_path / f"{number}.png", label) for number, label in enumerate(CLASS_NAMES)]
    assert listing.locations == {}
    assert name in listing.layout


@pytest.mark.parametrize("name", NAMES)
def test_a_split_column_gives_the_splits(tmp_path: Path, name: str) -> None:
    splits = ["test", "train", "VALID", " val ", "Validation", "train"]
    rows = [{"image": f"{number}.png", "label": "a", "split": split} for number, split in enumerate(splits)]

    listing = list_table(write_table(tmp_path / name, rows), Columns())

    assert list(listing.locations) == ["train", "val", "test"]
    assert [listing.count(split) for split in listing.locations] == [2, 3, 1]
    assert listing.count(None) == 0
    assert listing.watched == [str(tmp_path / name)]
    assert set(listing.locations.values()) == {str(tmp_path / name)}


@pytest.mark.parametrize("name", NAMES)
def test_columns_have_any_name_and_any_order(tmp_path: Path, name: str) -> None:
    rows = [{"fold": "train", "id": 7, "class name": "cat", "file": "x.png"}]

    listing = list_table(write_table(tmp_path / name, rows), Columns("file", "class name", "fold"))

    assert by_split(listing) == {"train": [sample(tmp_path / "x.png", "cat")]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("columns", "missing", "setting"), [
    (Columns(image="file"), "'file'", "data.image_column"),
    (Columns(label="class"), "'class'", "data.label_column"),
])  # fmt: skip
def test_a_missing_column_is_named_with_the_existing_ones(
    tmp_path: Path, name: str, columns: Columns, missing: str, setting: str
) -> None:
    path = write_table(tmp_path / name, [{"image": "x.png", "label": "cat"}])

    with pytest.raises(DataError) as caught:
        list_table(path, columns)

    message = str(caught.value)
    assert message.startswith(f"{path} has no column {missing}; its columns are 'image', 'label'")
    assert setting in message
    assert "\n" not in message


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [False, True])
def test_csv_as_spreadsheets_write_it(tmp_path: Path, delimiter: str, bom: bool) -> None:
    rows = [{"image": "a;b,c.png", "label": "x\ty", "split": "train"}, {"image": "é.png", "label": "-", "split": "val"}]

    listing = list_table(write_table(tmp_path / "t.csv", rows, delimiter=delimiter, bom=bom), Columns())

    assert by_split(listing) == {
        "train": [sample(tmp_path / "a;b,c.png", "x\ty")],
        "val": [sample(tmp_path / "é.png", "-")],
    }


def test_csv_line_breaks_in_and_between_cells(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'image,label\r\n\r\na.png,"two\nlines"\r\nb.png,plain')

    assert labels(path) == ["two\nlines", "plain"]


def test_a_csv_row_with_a_delimiter_in_the_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,label\na.png,cat\nb,c.png,dog\n")

    with pytest.raises(DataError, match=r"t\.csv, row 3: more cells than columns; quote what holds a ','"):
        labels(path)


def test_trailing_delimiters_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image;label\na.png;cat;\n")

    assert labels(path) == ["cat"]


def test_numbers_in_jsonl_keep_their_text(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    numbers = ["7", "1e3", "1.50", "-0", "1E-2", "123456789012345678901234567890", "0.1e1"]
    lines = [f'{{"image": "x.png", "label": {number}}}' for number in numbers]
    path.write_text("\n\n".join([*lines, '{"image": "x.png", "label": true}']) + "\n \n")

    assert labels(path) == [*numbers, "true"]


def test_a_very_long_number_in_jsonl_is_text_too(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"image": "x.png", "label": ' + "9" * 5000 + "}")

    assert labels(path) == ["9" * 5000]


def test_numbers_in_parquet_become_text(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = {"image": ["a.png", "b.png"], "label": pa.array([0, 12], pa.int64()), "other": [[1], [2]]}
    parquet.write_table(pa.table(table), path)
    assert labels(path) == ["0", "12"]

    categories = {"image": ["a.png", "b.png"], "label": pa.array(["00", "no"]).dictionary_encode()}
    parquet.write_table(pa.table(categories), path)
    assert labels(path) == ["00", "no"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["", "training", "dev", "0"])
def test_a_bad_split_is_reported_with_its_row(tmp_path: Path, name: str, value: str) -> None:
    rows = [{"image": f"{split}.png", "label": "a", "split": split} for split in ("train", "val", value)]
    path = write_table(tmp_path / name, rows)
    row = {".csv": 4, ".jsonl": 3, ".parquet": 3}[path.suffix]

    with pytest.raises(DataError, match=rf"{name}, row {row}: {value!r} .*'split' is not a split") as caught:
        list_table(path, Columns())

    assert "train, val, valid, validation, test" in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_image_cell_is_reported_with_its_row(tmp_path: Path, name: str) -> None:
    path = write_table(tmp_path / name, [{"image": "x.png", "label": "a"}, {"image": "", "label": "b"}])

    with pytest.raises(DataError, match=r"row [23]: the column 'image' is empty"):
        list_table(path, Columns())


@pytest.mark.parametrize("name", NAMES[1:])
def test_no_label_is_not_the_empty_label(tmp_path: Path, name: str) -> None:
    path = write_table(tmp_path / name, [{"image": "x.png", "label": "a"}, {"image": "y.png", "label": None}])

    with pytest.raises(DataError, match=r"row 2: the column 'label' has no value"):
        list_table(path, Columns())


def test_a_short_csv_row_has_no_label(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("image,label\nx.png,a\ny.png\n")

    with pytest.raises(DataError, match=r"row 3: the column 'label' has no value"):
        list_table(path, Columns())


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("label", [["cat", "dog"], {"name": "cat"}])
def test_several_labels_in_a_cell_are_refused(tmp_path: Path, name: str, label: object) -> None:
    path = write_table(tmp_path / name, [{"image": "x.png", "label": label}])

    with pytest.raises(DataError, match=r"row 1: the column 'label' holds a value of type (list|dict), not text"):
        list_table(path, Columns())


def test_images_within_a_parquet_table_are_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", [{"image": {"bytes": b"\x89PNG", "path": "x.png"}, "label": "a"}])

    with pytest.raises(DataError, match=r"row 1: the column 'image' holds a value of type dict, not text"):
        list_table(path, Columns())


def test_a_split_in_some_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"image": "x.png", "label": "a", "split": "train"}\n{"image": "y.png", "label": "a"}\n')

    with pytest.raises(DataError, match=r"1 row\(s\) have no 'split', the others do"):
        list_table(path, Columns())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "has no column 'image'; its columns are none"),
        ("t.csv", "image,label\n\xe9.png,a\n".encode("latin-1"), "is not UTF-8 text"),
        ("t.csv", "image,label\n".encode("utf-16"), "is not UTF-8 text"),
        ("t.csv", b'image,label\n"x.png"y,a\n', r"line 2: "),
        ("t.jsonl", b'{"image": "x.png", "label": "a"}\n{oops\n', "line 2: not JSON"),
        ("t.jsonl", b'["x.png", "a"]\n', "line 1: not a JSON object"),
        ("t.jsonl", b'{"image": "\xe9"}\n', "is not UTF-8 text"),
        ("t.parquet", b"", r"t\.parquet"),
        ("t.parquet", b"PAR1 and no more", r"t\.parquet"),
        ("t.xlsx", b"PK", "is not a table that can be read; allowed are .csv, .jsonl, .parquet"),
    ],
)
def test_a_broken_table_is_one_line_that_names_it(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(DataError, match=message) as caught:
        list_table(path, Columns())

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_paths_are_relative_to_the_table_or_absolute(tmp_path: Path) -> None:
    rows = [{"image": name, "label": "a"} for name in ("sub/x.png", "../y.png", "/data/z.png")]

    listing = list_table(write_table(tmp_path / "tables" / "t.csv", rows), Columns())

    assert [sample.path for sample in listing.samples()] == [
        f"{tmp_path}/tables/sub/x.png",
        f"{tmp_path}/tables/../y.png",
        "/data/z.png",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_one_table_a_split_follows_the_folder_not_the_column(tmp_path: Path, name: str) -> None:
    tables: dict[Split, str | Path] = {
        "train": write_table(tmp_path / "train" / name, [{"image": "x.png", "label": "00", "split": "test"}]),
        "val": write_table(tmp_path / "valid" / name, [{"image": "y.png", "label": "00", "split": "test"}]),
    }

    listing = list_split_tables(tables, Columns())

    assert by_split(listing) == {
        "train": [sample(tmp_path / "train" / "x.png", "00")],
        "val": [sample(tmp_path / "valid" / "y.png", "00")],
    }
    assert f"train/{name}, valid/{name}" in listing.layout


def test_finding_annotations(tmp_path: Path) -> None:
    assert find_table(str(tmp_path)) is None
    (tmp_path / "annotations.csv").write_text("")
    assert find_table(str(tmp_path)) == str(tmp_path / "annotations.csv")
    (tmp_path / "annotations.jsonl").write_text(json.dumps({}))
    with pytest.raises(DataError, match=r"has both annotations\.jsonl and annotations\.csv; keep one"):
        find_table(str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_groups_and_weights(tmp_path: Path, name: str) -> None:
    rows = [
        {"image": "a.png", "label": "x", "patient": "7", "w": "0.5"},
        {"image": "b.png", "label": "x", "patient": "", "w": ""},
        {"image": "c.png", "label": "x", "patient": "p", "w": " 2 "},
    ]
    path = write_table(tmp_path / name, rows)

    listing = list_table(path, Columns(group="patient", weight="w"))

    assert listing.rows.column("group").to_pylist() == ["7", None, "p"]
    assert listing.rows.column("weight").to_pylist() == [0.5, None, 2.0]
    without = list_table(path, Columns()).rows
    assert without.column("group").null_count == without.column("weight").null_count == 3
    for columns, missing in ((Columns(group="g"), "group"), (Columns(weight="g"), "weight")):
        with pytest.raises(DataError, match=rf"no column 'g'; .*; name the correct one with data\.{missing}_column"):
            list_table(path, columns)


@pytest.mark.parametrize("weight", ["-1", "x", "nan", "inf", "1,5"])
def test_an_invalid_weight_is_reported_with_its_row(tmp_path: Path, weight: str) -> None:
    rows = [{"image": "a.png", "label": "x", "w": "1"}, {"image": "b.png", "label": "x", "w": weight}]
    path = write_table(tmp_path / "t.jsonl", rows)

    with pytest.raises(
        DataError, match=rf"^{path}, row 2: '{weight}' in the column 'w' is not a weight; allowed are 0 and"
    ):
        list_table(path, Columns(weight="w"))


@pytest.mark.parametrize("name", NAMES)
def test_a_label_that_the_settings_do_not_name_is_reported_with_its_row(tmp_path: Path, name: str) -> None:
    path = write_table(tmp_path / name, [{"image": "a.png", "label": "cat"}, {"image": "b.png", "label": "dgo"}])

    assert len(list_table(path, Columns(), classes=["cat", "dgo"]).samples()) == 2
    with pytest.raises(
        DataError,
        match=r"row [23]: 'dgo' in the column 'label' .* not one of the [0-9]+ classes; did you mean 'dog'\?$",
    ):
        list_table(path, Columns(), classes=["cat", "dog"])
    with pytest.raises(DataError, match=r"row [23]: 'dgo' in the column 'label' .* not one of the [0-9]+ classes$"):
        list_split_tables({"train": path}, Columns(), classes=["cat", "zebra"])


def test_addresses_and_paths_in_one_table(tmp_path: Path) -> None:
    images = ["a.png", "s3://bucket/x/b.png", "s3://bucket/x/c.png", "http://host/image?id=5", "/data/d.png"]
    path = write_table(tmp_path / "t.csv", [{"image": image, "label": "x"} for image in images])

    rows = list_table(path, Columns()).rows

    assert rows.column("place").to_pylist() == [str(tmp_path), "s3://bucket/x", "s3://bucket/x", "http://host", "/data"]
    assert rows.column("name").to_pylist() == ["a.png", "b.png", "c.png", "image?id=5", "d.png"]


def test_a_remote_table(tmp_path: Path) -> None:
    served = tmp_path / "served" / "my tables"
    rows = [
        {"image": image, "label": "x", "split": "train"}
        for image in ("a.png", "sub/b #1.png", "../c.png", "s3://b/d.png")
    ]
    write_table(served / "t.csv", rows)
    with serve(tmp_path / "served") as web:
        address = f"{web.address}/my tables/t.csv"
        listing = list_table(address, Columns(), cache=tmp_path / "cache")

        assert listing.layout == "table t.csv"
        assert listing.locations == {"train": address}
        assert [f"{row['place']}/{row['name']}" for row in listing.rows.to_pylist()] == [
            f"{web.address}/my tables/a.png", f"{web.address}/my tables/sub/b%20%231.png", f"{web.address}/c.png",
            "s3://b/d.png",
        ]  # fmt: skip
        write_table(served / "t.csv", [{"image": "", "label": "x"}])
        with pytest.raises(DataError, match=rf"^{address}, row 2: the column 'image' is empty$"):
            list_table(address, Columns(), cache=tmp_path / "cache")


def test_remote_tables_one_a_split(tmp_path: Path) -> None:
    write_table(tmp_path / "served" / "train" / "annotations.csv", [{"image": "a.png", "label": "x"}])
    with serve(tmp_path / "served") as web:
        tables: dict[Split, str | Path] = {"train": f"{web.address}/train/annotations.csv"}
        listing = list_split_tables(tables, Columns(), cache=tmp_path / "cache")

    assert listing.layout == "one table a split (train/annotations.csv)"
    assert listing.rows.to_pylist()[0]["place"] == f"{web.address}/train"


def test_rows_of_many_folders_stay_in_their_order(tmp_path: Path) -> None:
    rows = [{"image": f"{number % 7}/{number}.png", "label": str(number % 3)} for number in range(1000)]
    rows += [{"image": f"same/{number}.png", "label": "x"} for number in range(70_000)]
    path = write_table(tmp_path / "t.parquet", rows)

    table = list_table(path, Columns()).rows

    assert table.num_rows == 71_000
    expected = [str(tmp_path / str(row["image"])) for row in rows]
    assert [f"{row['place']}/{row['name']}" for row in table.to_pylist()] == expected
    assert len(table.column("place").combine_chunks().dictionary) == 8


def test_json_that_is_too_deep(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("[" * 100_000)

    with pytest.raises(DataError, match=r"line 1: not JSON"):
        list_table(path, Columns())
