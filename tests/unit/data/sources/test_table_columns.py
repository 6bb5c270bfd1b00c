from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.helpers.photos import write_table
from tests.helpers.shards import write_hub_parquet

from classifier_training.data.sources.detect import list_photos
from classifier_training.data.sources.table import list_table
from classifier_training.data.sources.table_columns import Columns, find_columns
from classifier_training.errors import DataError

NAMES = ["t.csv", "t.jsonl", "t.parquet"]


def write_twice(path: Path) -> Path:
    """A table with two columns of one name."""
    if path.suffix == ".parquet":
        parquet.write_table(pa.table([["a.png"], ["x"], ["y"]], names=["image", "label", "label"]), path)
    elif path.suffix == ".jsonl":
        path.write_text('{"image": "a.png", "label": "x", "label": "y"}\n')
    else:
        path.write_text("image,label,label\na.png,x,y\n")
    return path


@pytest.mark.parametrize("name", NAMES)
def test_two_columns_of_one_name(tmp_path: Path, name: str) -> None:
    path = write_twice(tmp_path / name)

    with pytest.raises(DataError, match=rf"^{path} has two columns of the name 'label'; rename or remove one$"):
        list_photos(path, cache=tmp_path / "cache")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", ["Split", "SPLIT"])
def test_what_is_nearly_the_split_is_hinted_at(tmp_path: Path, name: str, split: str) -> None:
    path = write_table(tmp_path / name, [{"image": "a.png", "label": "x", split: "test"}])

    listing = list_table(path, Columns())

    assert listing.locations == {}
    assert listing.warnings == [
        f"{path}: the column {split!r} is not read as the split; if it is one, add data.split_column={split}"
    ]
    assert list_table(path, Columns(split=split)).locations == {"test": str(path)}


@pytest.mark.parametrize("name", NAMES)
def test_white_space_around_the_names_of_columns(tmp_path: Path, name: str) -> None:
    path = write_table(tmp_path / name, [{"image": "a.png", " label": "x", " split ": "train"}])

    listing = list_table(path, Columns())

    assert [(sample.label, listing.count("train")) for sample in listing.samples("train")] == [("x", 1)]


def test_the_split_of_images_in_parquet_files(tmp_path: Path) -> None:
    path = write_hub_parquet(tmp_path / "x.parquet", ["a", "b"], extra={"Split": ["train", "test"]})

    assert list_photos(path, cache=tmp_path / "cache").warnings == [
        f"{path}: the column 'Split' is not read as the split; if it is one, add data.split_column=Split"
    ]
    assert list(list_photos(path, Columns(split="Split"), cache=tmp_path / "cache").locations) == ["train", "test"]
    with pytest.raises(DataError, match=r"no column 'fold'; name the correct one with data\.split_column$"):
        list_photos(path, Columns(split="fold"), cache=tmp_path / "cache")


def test_a_split_column_with_a_name_of_its_own_must_exist(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.csv", [{"image": "a.png", "label": "x"}])

    with pytest.raises(DataError, match=r"no column 'fold'; .*; name the correct one with data\.split_column$"):
        list_table(path, Columns(split="fold"))


@pytest.mark.parametrize(
    ("present", "words"),
    [
        (["Image", "Label"], "data.image_column=Image data.label_column=Label"),
        (["image", "Label", "x"], "data.label_column=Label"),
        (["filename", "category", "w"], "data.image_column=filename data.label_column=category"),
        (["id", "breed"], "data.image_column=id data.label_column=breed"),
        (["image path", "class name", "z"], "'data.image_column=image path' 'data.label_column=class name'"),
        (["image", "y"], "data.label_column=y"),
    ],
)
def test_the_settings_to_type_for_other_names(present: list[str], words: str) -> None:
    with pytest.raises(DataError) as caught:
        find_columns("t.csv", present, Columns())

    assert str(caught.value).endswith(f", such as {words}")


def test_no_name_is_suggested_that_nobody_can_type() -> None:
    with pytest.raises(DataError) as caught:
        find_columns("t.jsonl", ["\ud800img", "label"], Columns())

    assert "its columns are '\\ud800img', 'label'; " in str(caught.value)
    assert str(caught.value).endswith("name the correct one with data.image_column")


def test_the_image_column_of_the_hub() -> None:
    assert find_columns("t.csv", ["file_name", "label"], Columns()) == {"image": "file_name", "label": "label"}
    assert find_columns("t.csv", ["file_name", "image", "label"], Columns())["image"] == "image"
