from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from classifier_training.data.packing.shard_writing import PackedSample, ShardKeys, file_digest, write_shard
from classifier_training.data.sources.shard_samples import key_of, read_shard
from classifier_training.types import ImageRecord


def samples(count: int, size: int = 1000) -> list[PackedSample]:
    return [PackedSample(f"k/{number}", ".png", bytes([number]) * size, f"class {number}") for number in range(count)]


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_shard(tmp_path / "a.tar", iter(samples(3)), 10**9)
    second = write_shard(tmp_path / "b.tar", iter(samples(3)), 10**9)

    content = (tmp_path / "a.tar").read_bytes()
    assert content == (tmp_path / "b.tar").read_bytes()
    assert first == second == (3, hashlib.blake2b(content, digest_size=16).hexdigest())
    assert file_digest(tmp_path / "a.tar") == first[1]


def test_headers_say_nothing_of_the_machine(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", iter(samples(1)), 10**9)

    with tarfile.open(tmp_path / "a.tar") as tar:
        members = tar.getmembers()

    assert [member.name for member in members] == ["k/0.png", "k/0.cls"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}


def test_a_full_shard_leaves_the_others(tmp_path: Path) -> None:
    waiting = iter(samples(5))

    counts = [write_shard(tmp_path / f"{number}.tar", waiting, 5000)[0] for number in range(3)]

    assert counts == [2, 2, 1]
    assert read_shard(str(tmp_path / "2.tar")).names == ["k/4.png"]


@pytest.mark.parametrize("label", ["cat", " x ", "007", "a\nb", "a\n", "a\r\n", "Ünï 🐈"])
def test_labels_are_read_as_they_were_written(tmp_path: Path, label: str) -> None:
    write_shard(tmp_path / "a.tar", iter([PackedSample("a", ".jpg", b"1", label)]), 1)

    assert read_shard(str(tmp_path / "a.tar")).labels == [label]


def test_a_shard_that_fails_is_not_left_behind(tmp_path: Path) -> None:
    def failing() -> object:
        yield from samples(1)
        raise ValueError("gone")

    with pytest.raises(ValueError, match="gone"):
        write_shard(tmp_path / "a.tar", failing(), 10**9)  # type: ignore[arg-type]

    assert list(tmp_path.iterdir()) == []


def keys(records: Sequence[ImageRecord], root: str = "/photos") -> list[str]:
    found = ShardKeys(records, root)
    return [found[position] for position in range(len(records))]


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/photos/train/cat/0001.JPEG", "train/cat/0001"),
        ("/photos/v1.0/my cat (2).tar.jpg", "v1_0/my_cat_2_tar"),
        ("/photos/Ünï/日本.jpg", "_n_/_"),
        ("/elsewhere/deep/cat/a.jpg", "cat/a"),
        ("/photos/../other/cat/a.jpg", "other/cat/a"),
        ("/photos/.hidden.jpg", "hidden"),
        ("/photos/noextension", "noextension"),
        ("/photosets/cat/a.jpg", "cat/a"),
        ("/photos/" + "x" * 200 + ".jpg", "x" * 80),
    ],
)
def test_keys_come_from_the_path(path: str, key: str) -> None:
    assert keys([ImageRecord(path)]) == [key]


def test_members_keep_their_name() -> None:
    assert keys([ImageRecord("/cache/x.tar", 512, 9, "train/n01/a.b.jpg")]) == ["train/n01/a_b"]


def test_no_two_keys_are_alike() -> None:
    paths = [
        "a.b.jpg",
        "a_b.jpg",
        "a b.png",
        "a_b~1.jpg",
        "c.jpg",
        "c/a.jpg",
        "x" * 100 + ".jpg",
        "y" + "x" * 99 + ".jpg",
    ]
    paths += ["c.jpg"]  # the same image twice, as a table may list it

    found = keys([ImageRecord(f"/photos/{path}") for path in paths])

    assert found[:6] == ["a_b~0", "a_b~1", "a_b~2", "a_b_1", "c~4", "c/a"]
    assert len(set(found)) == len(paths)


def test_every_key_is_one_for_webdataset_and_fits_a_plain_header() -> None:
    names = ["...", "..jpg", "a/..", "/", "\\", "a\nb.jpg", "-x.jpg", "~", "a/.b/c.jpg", "x" * 300 + "/" + "y" * 300]

    for key in keys([ImageRecord(f"/photos/{name}") for name in names] * 2):
        assert key_of(f"{key}.jpeg") == key
        assert len(f"{key}.jpeg") <= 100
        assert key.isascii()
        assert not key.startswith("/")
        assert ".." not in key.split("/")
