from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.helpers.photos import make_photo, write_table
from tests.helpers.shards import photo_bytes, write_hub_parquet
from tests.helpers.web import serve

from classifier_training.data.sources.hub_parquet import list_hub_parquet
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.table_rows import Columns
from classifier_training.errors import DataError

NAMES = ["cat", "dog", "007"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def list_found(root: str | Path, cache: Path, columns: Columns | None = None) -> Listing:
    listing = list_hub_parquet(str(root), columns or Columns(), cache=cache)
    assert listing is not None
    return listing


def read(listing: Listing, split: str | None = None) -> list[tuple[int, str]]:
    """Number and label of every image."""
    numbers = {photo_bytes(number): number for number in range(20)}
    return [(numbers[sample.image.read()], sample.label) for sample in listing.samples(split)]  # type: ignore[arg-type]


def test_as_the_hub_lays_them_out(tmp_path: Path, cache: Path) -> None:
    data = tmp_path / "set" / "data"
    write_hub_parquet(data / "train-00000-of-00002.parquet", [0, 1, 2], names=NAMES)
    write_hub_parquet(data / "train-00001-of-00002.parquet", [2, 0], names=NAMES, first=3)
    write_hub_parquet(data / "validation-00000-of-00001.parquet", [1], names=NAMES, first=5)
    write_hub_parquet(data / "test-00000-of-00001.parquet", [0], names=NAMES, first=6)
    (tmp_path / "set" / "README.md").write_text("")

    listing = list_found(tmp_path / "set", cache)

    assert read(listing, "train") == [(0, "cat"), (1, "dog"), (2, "007"), (3, "007"), (4, "cat")]
    assert read(listing, "val") == [(5, "dog")]
    assert read(listing, "test") == [(6, "cat")]
    assert listing.locations == dict.fromkeys(["train", "val", "test"], str(data))
    assert listing.layout == "4 Parquet files of images (train, val, test)"
    assert {str(data), *map(str, data.iterdir())} <= set(listing.watched)
    assert str(listing.samples("train")[3].image).endswith("/train-00001-of-00002.pictures::00003.png")
    for root in (data, data / "train-{00000..00001}-of-00002.parquet"):
        assert read(list_found(root, cache), "train") == read(listing, "train")


def test_split_folders_and_one_file(tmp_path: Path, cache: Path) -> None:
    write_hub_parquet(tmp_path / "train" / "0.parquet", [0], names=NAMES)
    path = write_hub_parquet(tmp_path / "test" / "0.parquet", [1], names=NAMES, first=1)

    assert read(list_found(tmp_path, cache), "test") == [(1, "dog")]
    alone = list_found(path, cache)
    assert alone.layout == "1 Parquet file of images (no splits)"
    assert read(alone) == [(1, "dog")]


def test_a_split_column(tmp_path: Path, cache: Path) -> None:
    splits = ["train", "validation", "train"]
    path = write_hub_parquet(tmp_path / "set" / "x.parquet", [0, 1, 1], names=NAMES, extra={"split": splits})

    listing = list_found(path, cache)

    assert (read(listing, "train"), read(listing, "val")) == ([(0, "cat"), (2, "dog")], [(1, "dog")])
    assert listing.locations == {"train": str(path), "val": str(path)}


def test_an_invalid_split_or_one_in_some_files_only(tmp_path: Path, cache: Path) -> None:
    path = write_hub_parquet(tmp_path / "set" / "x.parquet", [0, 1], names=NAMES, extra={"split": ["train", "dev"]})
    with pytest.raises(DataError, match=rf"^{path}, row 2: 'dev' in the column 'split' is not a split"):
        list_found(path, cache)

    write_hub_parquet(path, [0], names=NAMES, extra={"split": ["train"]})
    write_hub_parquet(path.with_name("y.parquet"), [0], names=NAMES)
    with pytest.raises(DataError, match=r"some files have no 'split', the others do; give it to all"):
        list_found(path.parent, cache)


def test_groups_and_weights(tmp_path: Path, cache: Path) -> None:
    extra: dict[str, list[object]] = {"patient": ["a", None, "7"], "w": [0.5, None, 2]}
    path = write_hub_parquet(tmp_path / "x.parquet", [0, 1, 1], names=NAMES, extra=extra)

    rows = list_found(path, cache, Columns(group="patient", weight="w")).rows

    assert rows.column("group").to_pylist() == ["a", None, "7"]
    assert rows.column("weight").to_pylist() == [0.5, None, 2.0]
    with pytest.raises(DataError, match=r"has no column 'fold'; .*name the correct one with data\.group_column"):
        list_found(path, cache, Columns(group="fold"))
    write_hub_parquet(path, [0], names=NAMES, extra={"w": [-1]})
    with pytest.raises(DataError, match=r"row 1: '-1' in the column 'w' is not a weight"):
        list_found(path, cache, Columns(weight="w"))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([7, 1_000], ["7", "1000"]), (["007", "x"], ["007", "x"]), ([True, False], ["true", "false"])],
)
def test_labels_without_class_names(tmp_path: Path, cache: Path, labels: list[object], expected: list[str]) -> None:
    listing = list_found(write_hub_parquet(tmp_path / "x.parquet", labels), cache)

    assert [sample.label for sample in listing.samples()] == expected


def test_columns_are_found_by_their_type(tmp_path: Path, cache: Path) -> None:
    path = write_hub_parquet(tmp_path / "x.parquet", [0, 1], names=NAMES, columns=("img", "fine_label"))

    assert read(list_found(path, cache)) == [(0, "cat"), (1, "dog")]
    assert read(list_found(path, cache, Columns(image="img", label="fine_label"))) == [(0, "cat"), (1, "dog")]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            Columns(image="pixels"),
            "has no column 'pixels'; its columns are 'img', 'label'; name the correct one with data.image_column",
        ),
        (
            Columns(label="breed"),
            "has no column 'breed'; its columns are 'img', 'label'; name the correct one with data.label_column",
        ),
    ],
)
def test_a_column_that_the_settings_name_is_not_replaced(
    tmp_path: Path, cache: Path, columns: Columns, message: str
) -> None:
    path = write_hub_parquet(tmp_path / "x.parquet", [0], names=NAMES, columns=("img", "label"))

    with pytest.raises(DataError, match=re.escape(message)):
        list_found(path, cache, columns)


def test_several_columns_of_images_or_of_classes(tmp_path: Path, cache: Path) -> None:
    path = write_hub_parquet(tmp_path / "x.parquet", [0], names=NAMES, columns=("left", "a"))
    table = parquet.read_table(path)
    two = table.append_column("right", table.column("left"))
    parquet.write_table(two, path)
    with pytest.raises(
        DataError, match=r"has several columns of images, 'left', 'right'; choose with data.image_column"
    ):
        list_found(path, cache)

    about = json.loads(table.schema.metadata[b"huggingface"])
    about["info"]["features"]["b"] = {"names": ["x"], "_type": "ClassLabel"}
    labels = table.append_column("b", pa.array([0])).replace_schema_metadata({"huggingface": json.dumps(about)})
    parquet.write_table(labels, path)
    with pytest.raises(DataError, match=r"no column 'label'; its columns are 'left', 'a', 'b'; name the correct one"):
        list_found(path, cache)
    assert [s.label for s in list_found(path, cache, Columns(label="b")).samples()] == ["x"]


def test_tables_of_paths_are_not_image_sets(tmp_path: Path, cache: Path) -> None:
    table = write_table(tmp_path / "x.parquet", [{"image": "a.png", "label": "cat"}])

    assert list_hub_parquet(str(table), Columns(), cache=cache) is None
    assert list_hub_parquet(str(tmp_path), Columns(), cache=cache) is None
    assert list_hub_parquet(str(tmp_path / "nowhere"), Columns(), cache=cache) is None
    write_hub_parquet(tmp_path / "w.parquet", [0])
    with pytest.raises(DataError, match=rf"^{tmp_path}/x\.parquet holds no images, but {tmp_path}/w\.parquet does"):
        list_found(tmp_path, cache)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, -1], "row 2: -1 in the column 'label' is not a label; allowed are 0 to 2 (the hub marks images without"),
        ([3], "row 1: 3 in the column 'label' is not a label; allowed are 0 to 2"),
        ([0, 1, None], "row 3: the column 'label' has no value"),
        ([[0]], "row 1: the column 'label' holds a value of type list, not text"),
    ],
)
def test_invalid_labels(tmp_path: Path, cache: Path, labels: list[object], message: str) -> None:
    path = write_hub_parquet(tmp_path / "train-0.parquet", labels, names=NAMES)

    with pytest.raises(DataError) as caught:
        list_found(tmp_path, cache)

    assert str(caught.value).startswith(f"{path}, {message}")


def test_a_label_that_the_settings_do_not_name(tmp_path: Path, cache: Path) -> None:
    path = write_hub_parquet(tmp_path / "x.parquet", [0, 2], names=NAMES)

    with pytest.raises(DataError, match=r"row 2: '007' in the column 'label' is not one of the [0-9]+ classes"):
        list_hub_parquet(str(path), Columns(), cache=cache, classes=["cat", "dog"])


def test_images_next_to_the_file(tmp_path: Path, cache: Path) -> None:
    make_photo(tmp_path / "set" / "photos" / "b.png", 1)
    images: Sequence[Mapping[str, object]] = [
        {"bytes": photo_bytes(0), "path": "a.png"}, {"bytes": None, "path": "photos/b.png"},
        {"bytes": photo_bytes(2), "path": None},
    ]  # fmt: skip
    write_hub_parquet(tmp_path / "set" / "x.parquet", [0, 1, 2], names=NAMES, images=images)

    listing = list_found(tmp_path / "set" / "x.parquet", cache)

    assert read(listing) == [(0, "cat"), (1, "dog"), (2, "007")]
    assert [sample.image.member for sample in listing.samples()] == ["a.png", "", "row 3"]
    assert listing.samples()[1].path == str(tmp_path / "set" / "photos" / "b.png")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "row 2: the column 'image' has no image"),
        ({"bytes": None, "path": None}, "row 2: the column 'image' has no image"),
        (
            {"bytes": None, "path": "gone.png"},
            "row 2: the column 'image' has no bytes, and there is no file {folder}/gone.png",
        ),
    ],
)
def test_rows_without_an_image(tmp_path: Path, cache: Path, image: Mapping[str, object] | None, message: str) -> None:
    good = {"bytes": photo_bytes(0), "path": "a.png"}
    path = write_hub_parquet(tmp_path / "x.parquet", [0, 1], names=NAMES, images=[good, image])

    with pytest.raises(DataError, match=re.escape(f"{path}, {message.format(folder=tmp_path)}")):
        list_found(path, cache)


def test_images_are_unpacked_once(tmp_path: Path, cache: Path) -> None:
    path = write_hub_parquet(tmp_path / "x.parquet", [0, 1, 2], names=NAMES)
    first = list_found(path, cache)
    pack = Path(first.samples()[0].image.path)
    inode = pack.stat().st_ino

    assert list_found(path, cache).rows.equals(first.rows)
    assert pack.stat().st_ino == inode


@pytest.mark.parametrize("damage", ["pack is gone", "pack is cut off", "rows are gone", "rows are no file of rows"])
def test_damaged_packs_are_made_again_and_look_the_same(tmp_path: Path, cache: Path, damage: str) -> None:
    path = write_hub_parquet(tmp_path / "x.parquet", [0, 1, 2], names=NAMES)
    first = list_found(path, cache)
    pack = Path(first.samples()[0].image.path)
    before = pack.stat()
    if damage == "pack is gone":
        pack.unlink()
    elif damage == "pack is cut off":
        os.truncate(pack, 100)
    elif damage == "rows are gone":
        (pack.parent / "rows.arrow").unlink()
    else:
        (pack.parent / "rows.arrow").write_text("no")

    again = list_found(path, cache)

    assert again.rows.equals(first.rows)
    assert read(again) == [(0, "cat"), (1, "dog"), (2, "007")]
    assert (pack.stat().st_size, pack.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert list(cache.rglob("*.tmp")) == []


def test_another_file_at_the_same_path_is_unpacked_again(tmp_path: Path, cache: Path) -> None:
    path = write_hub_parquet(tmp_path / "x.parquet", [0], names=NAMES)
    assert read(list_found(path, cache)) == [(0, "cat")]
    write_hub_parquet(path, [1, 1], names=NAMES, first=7)

    assert read(list_found(path, cache)) == [(7, "dog"), (8, "dog")]


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"x" * 5000])
def test_broken_files(tmp_path: Path, cache: Path, content: bytes) -> None:
    (tmp_path / "train-0.parquet").write_bytes(content)

    with pytest.raises(DataError, match=rf"^{tmp_path}/train-0\.parquet is not a readable Parquet file: ") as caught:
        list_found(tmp_path, cache)

    assert "\n" not in str(caught.value)


def test_a_file_that_is_damaged_within(tmp_path: Path, cache: Path) -> None:
    path = write_hub_parquet(tmp_path / "x.parquet", [0, 1], names=NAMES)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)

    with pytest.raises(DataError, match=rf"^{path} is not a readable Parquet file: "):
        list_found(path, cache)

    assert list(cache.rglob("*.pictures")) == []


def test_metadata_that_cannot_be_understood(tmp_path: Path, cache: Path) -> None:
    path = write_hub_parquet(tmp_path / "x.parquet", [4], names=NAMES)
    for about in (
        b"{",
        b"[]",
        b'{"info": 3}',
        b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": 3}}}}',
    ):
        parquet.write_table(parquet.read_table(path).replace_schema_metadata({"huggingface": about}), path)
        assert read(list_found(path, cache)) == [(0, "4")]


def test_a_cache_that_cannot_be_written(tmp_path: Path, cache: Path) -> None:
    cache.write_text("")

    with pytest.raises(DataError, match=rf"^the cache folder {cache} cannot be written: "):
        list_found(write_hub_parquet(tmp_path / "x.parquet", [0]), cache)


def test_remote_files(tmp_path: Path, cache: Path) -> None:
    served = tmp_path / "served"
    make_photo(served / "set" / "data" / "b.png", 1)
    images: Sequence[Mapping[str, object]] = [
        {"bytes": photo_bytes(0), "path": "a.png"}, {"bytes": None, "path": "b.png"},
    ]  # fmt: skip
    write_hub_parquet(served / "set" / "data" / "train-0.parquet", [0, 1], names=NAMES, images=images)
    with serve(served) as web:
        address = f"{web.address}/set"
        rows = list_found(address, cache).rows.to_pylist()
        list_found(address, cache)

        assert web.gets["/set/data/train-0.parquet"] == 1
    assert [row["label"] for row in rows] == ["cat", "dog"]
    assert (rows[1]["place"], rows[1]["name"], rows[1]["offset"]) == (f"{address}/data", "b.png", None)
    assert Path(rows[0]["place"]).is_relative_to(cache / "unpacked")
