from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import fsspec
import pytest
from tests.helpers.photos import make_photos
from tests.helpers.shards import photo_bytes, write_shard, write_tar
from tests.helpers.web import serve

from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.sources.shard_manifest import Manifest, ShardEntry, read_manifest
from classifier_training.data.sources.shards import ClassNames, find_class_names, list_shards, with_class_names
from classifier_training.errors import DataError


def list_found(root: str | Path, cache: Path | None = None) -> Listing:
    listing = list_shards(str(root), cache=cache)
    assert listing is not None
    return listing


def numbers(listing: Listing, split: str | None = None) -> list[int]:
    """The numbers of the images, which are checked to be where the listing says."""
    samples = listing.samples(split)  # type: ignore[arg-type]
    found = [int(sample.image.member.rpartition("/")[2].partition(".")[0]) for sample in samples]
    assert [sample.image.read() for sample in samples] == [photo_bytes(number) for number in found]
    return found


def test_a_folder_of_shards_with_splits_in_their_names(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-000.tar", ["cat", "dog"])
    write_shard(tmp_path / "train-001.tar", ["dog"], first=2, as_json=True)
    write_shard(tmp_path / "validation_01.tar", ["cat"], first=3, webdataset=True)
    write_shard(tmp_path / "Test.tar", ["cat"], first=4)

    listing = list_found(tmp_path)

    assert [sample.label for sample in listing.samples("train")] == ["cat", "dog", "dog"]
    assert (numbers(listing, "train"), numbers(listing, "val"), numbers(listing, "test")) == ([0, 1, 2], [3], [4])
    assert listing.locations == dict.fromkeys(["train", "val", "test"], str(tmp_path))
    assert listing.layout == "4 tar shards (train, val, test)"
    assert listing.warnings == []
    assert set(listing.watched) == {str(tmp_path), *map(str, tmp_path.glob("*.tar"))}


def test_split_folders(tmp_path: Path) -> None:
    write_shard(tmp_path / "train" / "b.tar", ["cat"], first=1)
    write_shard(tmp_path / "train" / "a.tar", ["cat"])
    write_shard(tmp_path / "valid" / "a.tar", ["dog"], first=2)
    write_shard(tmp_path / "stray.tar", ["dog"])

    listing = list_found(tmp_path)

    assert (numbers(listing, "train"), numbers(listing, "val")) == ([0, 1], [2])
    assert listing.locations == {"train": str(tmp_path / "train"), "val": str(tmp_path / "valid")}
    assert listing.warnings == [f"1 file(s) next to the split folders are ignored: {tmp_path}/stray.tar"]
    assert {str(tmp_path), str(tmp_path / "train"), str(tmp_path / "valid")} <= set(listing.watched)


def test_two_folders_for_one_split(tmp_path: Path) -> None:
    write_shard(tmp_path / "val" / "a.tar", ["cat"])
    write_shard(tmp_path / "valid" / "a.tar", ["dog"])

    with pytest.raises(DataError, match="has two folders that could both be the val split: val and valid; rename one"):
        list_found(tmp_path)


def test_names_without_splits(tmp_path: Path) -> None:
    for number, name in enumerate(["0.tar", "trainees.tar", "my-test-data.tar"]):
        write_shard(tmp_path / name, ["cat"], first=number)

    listing = list_found(tmp_path)

    assert listing.locations == {}
    assert listing.layout == "3 tar shards, no splits"
    assert numbers(listing) == [0, 2, 1]


def test_names_with_the_split_within_them(tmp_path: Path) -> None:
    write_shard(tmp_path / "imagenet1k-train-0000.tar", ["cat"])
    write_shard(tmp_path / "imagenet1k-validation-00.tar", ["cat"], first=1)

    listing = list_found(tmp_path)

    assert (numbers(listing, "train"), numbers(listing, "val")) == ([0], [1])


def test_a_split_in_some_names_only(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", ["cat"])
    write_shard(tmp_path / "more.tar", ["cat"])

    with pytest.raises(DataError, match=r"the name train-0\.tar names a split and more\.tar does not; let all begin"):
        list_found(tmp_path)


def test_one_shard(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "photos.tar", ["cat", "dog"])

    listing = list_found(path)

    assert numbers(listing) == [0, 1]
    assert listing.layout == "1 tar shard, no splits"


def test_a_pattern(tmp_path: Path) -> None:
    for number in range(3):
        write_shard(tmp_path / f"train-{number:03d}.tar", ["cat"], first=number)
    write_shard(tmp_path / "val-000.tar", ["cat"], first=3)

    assert numbers(list_found(tmp_path / "train-{000..001}.tar"), "train") == [0, 1]
    both = list_found(tmp_path / "{train,val}-000.tar")
    assert (numbers(both, "train"), numbers(both, "val")) == ([0], [3])


def test_missing_shards_of_a_pattern_are_named(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-002.tar", ["cat"])

    with pytest.raises(DataError) as caught:
        list_found(tmp_path / "train-{000..006}.tar")

    names = ", ".join(f"{tmp_path}/train-00{number}.tar" for number in (0, 1, 3))
    assert str(caught.value) == f"6 of the 7 files of {tmp_path}/train-{{000..006}}.tar are missing: {names} and 3 more"


def test_photo_folders_with_the_archive_that_they_came_in_are_not_shards(tmp_path: Path) -> None:
    make_photos(tmp_path, {"cat": 1, "dog": 1})
    write_shard(tmp_path / "photos.tar", ["cat"])
    (tmp_path / "photos.tar.gz").write_bytes(b"")

    assert list_shards(str(tmp_path)) is None
    assert list_shards(str(tmp_path / "nowhere")) is None
    assert list_shards(str(tmp_path / "cat")) is None


@pytest.mark.parametrize("name", ["train-0.tar.gz", "train-0.tgz", "train-0.TAR.BZ2"])
def test_compressed_shards_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(write_shard(tmp_path / "good.tar", ["cat"]).read_bytes()))

    for root in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=rf"^{tmp_path / name} is compressed, so that no image in it can be read"):
            list_found(root)


@pytest.mark.parametrize("number", [0, 1])
def test_one_bad_shard_of_several_is_named(tmp_path: Path, number: int) -> None:
    paths = [write_shard(tmp_path / f"{name}.tar", ["cat"], first=name) for name in range(4)]
    paths[number].write_bytes(paths[number].read_bytes()[:700])

    with pytest.raises(DataError, match=rf"^the shard {paths[number]} is cut off: .*"):
        list_found(tmp_path)


def test_a_shard_without_images_is_reported(tmp_path: Path) -> None:
    write_shard(tmp_path / "0.tar", ["cat"])
    write_tar(tmp_path / "1.tar", [])

    assert list_found(tmp_path).warnings == [f"the shard {tmp_path}/1.tar holds no images"]


def test_keys_of_several_shards_are_reported(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-0.tar", ["cat", "cat", "cat"])
    write_shard(tmp_path / "train-1.tar", ["cat", "cat"], first=1)
    write_shard(tmp_path / "val-0.tar", ["cat", "cat"], first=0)

    listing = list_found(tmp_path)

    examples = f"{tmp_path}/train-0.tar::00001.png and {tmp_path}/train-1.tar::00001.png"
    assert listing.warnings == [f"2 key(s) are in several shards of the train split, such as {examples}"]
    assert len(listing.samples("train")) == 5


def test_indices_and_a_file_of_names(tmp_path: Path) -> None:
    write_shard(tmp_path / "train" / "0.tar", ["1", "0"])
    write_shard(tmp_path / "val" / "0.tar", ["1"], first=2)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")

    listing = list_found(tmp_path)

    assert [sample.label for sample in listing.samples("train")] == ["dog", "cat"]
    assert [sample.label for sample in listing.samples("val")] == ["dog"]
    assert str(tmp_path / "classes.txt") in listing.watched
    for root in (tmp_path / "train" / "0.tar", tmp_path / "train" / "{0..0}.tar"):
        assert [sample.label for sample in list_found(root).samples()] == ["1", "0"]


def test_progress_is_reported(tmp_path: Path) -> None:
    for number in range(5):
        write_shard(tmp_path / f"{number}.tar", ["cat"], first=number)
    messages: list[tuple[int, int]] = []

    list_shards(str(tmp_path), progress=lambda done, total: messages.append((done, total)))

    assert messages == [(number, 5) for number in range(1, 6)]


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    manifest = Manifest({})
    for number in range(3):
        path = write_shard(folder / f"train-{number}.tar", ["cat"], first=number)
        manifest = manifest.with_shard(ShardEntry(path.name, number, 1, path.stat().st_size, "", ""))
    dataclasses.replace(manifest, is_complete=True).write(folder)
    return folder


def test_a_prepared_folder_is_compared_with_what_it_should_hold(prepared: Path) -> None:
    assert numbers(list_found(prepared), "train") == [0, 1, 2]

    (prepared / "train-1.tar").rename(prepared / "train-9.tar.bak")
    with pytest.raises(DataError, match=rf"^1 of the 3 shards of {prepared} are missing: train-1\.tar"):
        list_found(prepared)


def test_a_shard_of_another_length_than_in_its_manifest(prepared: Path) -> None:
    write_shard(prepared / "train-2.tar", ["cat"] * 9)

    with pytest.raises(DataError, match=rf"^{prepared}: train-2\.tar has \d+ bytes and not 10240 as in prepare\.json"):
        list_found(prepared)


def test_a_prepared_folder_that_is_not_finished(prepared: Path) -> None:
    dataclasses.replace(read_manifest(prepared / "prepare.json"), is_complete=False).write(prepared)

    with pytest.raises(
        DataError, match=rf"^{prepared} is not finished; run the same classifier-training prepare again"
    ):
        list_found(prepared)


def test_remote_shards(tmp_path: Path) -> None:
    folder, cache = tmp_path / "served" / "my shards", tmp_path / "cache"
    for number in range(3):
        write_shard(folder / f"train-{number}.tar", [str(number)], first=number)
    (folder / "classes.txt").write_text("cat\ndog\neel")
    with serve(tmp_path / "served") as web:
        address = f"{web.address}/my shards"
        listing = list_found(address, cache)

        assert numbers(listing, "train") == [0, 1, 2]
        assert [sample.label for sample in listing.samples("train")] == ["cat", "dog", "eel"]
        assert listing.locations == {"train": address}
        assert all(Path(sample.image.path).is_relative_to(cache) for sample in listing.samples("train"))
        assert numbers(list_found(f"{address}/train-{{1..2}}.tar", cache), "train") == [1, 2]
        assert numbers(list_found(f"{address}/train-0.tar", cache), "train") == [0]
        assert {web.gets[f"/my%20shards/train-{number}.tar"] for number in range(3)} == {1}

        Path(listing.samples("train")[1].image.path).unlink()
        again = list_found(address, cache)

        assert again.rows.equals(listing.rows)
        assert [web.gets[f"/my%20shards/train-{number}.tar"] for number in range(3)] == [1, 2, 1]


def test_a_remote_shard_that_is_missing(tmp_path: Path) -> None:
    write_shard(tmp_path / "served" / "train-0.tar", ["cat"])
    with (
        serve(tmp_path / "served") as web,
        pytest.raises(DataError, match=rf"^cannot fetch {web.address}/train-1\.tar: it does not exist$"),
    ):
        list_found(f"{web.address}/train-{{0..1}}.tar", tmp_path / "cache")


def test_a_server_without_lists(tmp_path: Path) -> None:
    write_shard(tmp_path / "served" / "train-0.tar", ["0"])
    with serve(tmp_path / "served") as web:
        web.failures = {path: [403] * 9 for path in ("/", "")}
        listing = list_found(f"{web.address}/train-0.tar", tmp_path / "cache")

    assert numbers(listing, "train") == [0]
    assert len(listing.warnings) == 1
    assert listing.warnings[0].startswith(f"labels that are indices get no names: cannot list {web.address}")


def test_shards_in_a_store(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for split in ("train", "val"):
        memory.pipe(f"/test_store/{split}/0.tar", write_shard(tmp_path / "x.tar", ["cat"]).read_bytes())

    listing = list_found("memory:///test_store", tmp_path / "cache")

    assert (numbers(listing, "train"), numbers(listing, "val")) == ([0], [0])
    assert listing.locations == {split: f"memory:///test_store/{split}" for split in ("train", "val")}


def find(folder: Path) -> tuple[str, ...] | None:
    found = find_class_names(str(folder), folder / "cache")
    return None if found is None else found.names


def named(labels: list[str], names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    rows = RowWriter()
    rows.add("x.tar", [f"{number}.jpg" for number in range(len(labels))], labels)
    table, warnings = with_class_names(rows.table(), ClassNames(Path("classes.txt"), names))
    return table.column("label").to_pylist(), warnings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "cat\ndog\n é \n"),
        ("classnames.txt", "\ufeffcat\r\ndog\r\n é "),
        ("classes.json", '["cat", "dog", " é "]'),
        ("classes.json", '{"0": "cat", "2": " é ", "1": "dog"}'),
        ("classes.json", '{" é ": 2, "cat": 0, "dog": 1}'),
        ("labels_mapping.json", json.dumps({"num_classes": 3, "class_to_idx": {"cat": 0, "dog": 1, " é ": 2}})),
    ],
)
def test_files_of_class_names(tmp_path: Path, name: str, text: str) -> None:
    assert find(tmp_path) is None

    (tmp_path / name).write_text(text, encoding="utf-8", newline="")

    assert find(tmp_path) == ("cat", "dog", " é ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classes.txt", b"cat\ndog\ncat\n", "names two classes 'cat', the indices 0 and 2; make them differ"),
        ("classes.txt", b"\xff", "is not UTF-8 text"),
        ("classes.json", b"{", "is not JSON"),
        ("classes.json", b"[1, 2]", "holds no class names; expected a list of names"),
        ("classes.json", b'{"0": "cat", "2": "dog"}', "gives no class the number 1; 2 classes have the numbers 0 to 1"),
        ("classes.json", b'{"cat": 0, "dog": 2}', "gives no class the number 1; 2 classes have the numbers 0 to 1"),
        ("classes.json", b'{"cat": -1, "dog": 0}', "holds no class names"),
        ("classes.json", b'"cat"', "holds no class names"),
        ("classes.json", b"[]", "holds no class names"),
        ("labels_mapping.json", b'{"class_to_idx": {"cat": 1}}', "gives no class the number 0"),
        ("labels_mapping.json", b'{"class_to_idx": 3}', "holds no class names"),
    ],
)
def test_files_that_are_not_class_names(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError) as caught:
        find(tmp_path)

    assert str(caught.value).startswith(f"{tmp_path / name} {message}")


def test_names_at_an_address(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\ndog")
    with serve(tmp_path) as web:
        found = find_class_names(web.address, tmp_path / "cache")

    assert found is not None
    assert found.names == ("cat", "dog")
    assert found.path.is_relative_to(tmp_path / "cache")


def test_indices_become_names() -> None:
    assert named(["1", "0", "1"], ("cat", "dog", "eel")) == (["dog", "cat", "dog"], [])


def test_labels_that_are_names_stay_even_if_they_are_numbers() -> None:
    assert named(["10", "1"], ("1", "10", "2")) == (["10", "1"], [])


@pytest.mark.parametrize("labels", [["n01440764"], ["007"], ["1", "x"], ["-1"], ["1.0"], ["１"]])
def test_labels_that_are_not_indices_stay_with_a_warning(labels: list[str]) -> None:
    assert named(labels, ("cat", "dog")) == (labels, ["classes.txt is not used: the labels are text and not indices"])


def test_an_index_without_a_name_is_reported_with_its_image() -> None:
    with pytest.raises(
        DataError, match=r"^x\.tar::1\.jpg has the label 2, and classes\.txt has names for 0 to 1 only$"
    ):
        named(["1", "2", "0", "2"], ("cat", "dog"))


def test_no_images() -> None:
    assert named([], ("cat",)) == ([], [])
