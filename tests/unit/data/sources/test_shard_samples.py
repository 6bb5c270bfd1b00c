from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.helpers.shards import photo_bytes, write_shard, write_tar

from classifier_training.data.sources import shard_samples
from classifier_training.data.sources.shard_samples import read_shard
from classifier_training.errors import DataError
from classifier_training.files.hidden import skipped_notice

PICTURE = photo_bytes(0)


def labels(path: Path, *members: tuple[str, bytes]) -> list[str]:
    return read_shard(str(write_tar(path / "x.tar", members))).labels


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("webdataset", [False, True])
def test_images_and_their_labels(tmp_path: Path, as_json: bool, webdataset: bool) -> None:
    names = ["007", "1e3", "no", "Ünï 🐈", "0"]
    path = write_shard(tmp_path / "x.tar", names, as_json=as_json, webdataset=webdataset)

    found = read_shard(str(path))

    assert found.labels == names
    assert found.names == [f"{number:05d}.png" for number in range(5)]
    content = path.read_bytes()
    for number, (offset, size) in enumerate(zip(found.offsets, found.sizes, strict=True)):
        assert content[offset : offset + size] == photo_bytes(number)


def test_what_systems_leave_behind_is_no_image(tmp_path: Path) -> None:
    members = [("a.png", PICTURE), ("a.cls", b"cat"), ("__MACOSX/._a.png", b"x"), ("__MACOSX/a.png", b"x")]
    path = write_tar(tmp_path / "x.tar", [*members, ("b/.ipynb_checkpoints/a.png", PICTURE)])

    found = read_shard(str(path))

    assert found.names == ["a.png"]
    assert "what systems and programs have left below x is skipped: __MACOSX (2)" in skipped_notice("x", found.skipped)


@pytest.mark.parametrize("extension", ["jpg", "JPEG", "png", "webp", "Tiff", "bmp"])
def test_every_kind_of_image(tmp_path: Path, extension: str) -> None:
    assert labels(tmp_path, (f"a.{extension}", PICTURE), ("a.CLS", b"cat")) == ["cat"]


def test_keys_are_webdatasets(tmp_path: Path) -> None:
    """The key is the path up to the first dot of the base name; other files of a key are no matter."""
    members = [
        ("v1.0/train/0001.jpg", PICTURE), ("v1.0/train/0001.seg.png", PICTURE), ("v1.0/train/0001.cls", b"cat"),
        ("v1.0/train/0001.txt", b"a cat"),
        ("v1.0/val/0001.cls", b"dog"), ("v1.0/val/0001.jpg", PICTURE),
        ("README", b"no dot: no key"), (".hidden.jpg", PICTURE), ("v1.0/._0002.jpg", PICTURE),
    ]  # fmt: skip
    assert labels(tmp_path, *members) == ["cat", "dog"]
    assert read_shard(str(tmp_path / "x.tar")).names == ["v1.0/train/0001.jpg", "v1.0/val/0001.jpg"]


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (b"cat", "cat"), (b"cat\n", "cat"), (b"cat\r\n", "cat"), (b"cat\n\n", "cat\n"), (b" cat ", " cat "),
        (b"\xef\xbb\xbfcat", "cat"), (b"7\n", "7"), (b"007", "007"), (b"two\nlines", "two\nlines"),
    ],
)  # fmt: skip
def test_the_text_of_a_label_stays(tmp_path: Path, content: bytes, label: str) -> None:
    assert labels(tmp_path, ("a.jpg", PICTURE), ("a.cls", content)) == [label]


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ('{"label": "cat"}', "cat"), ('{"cls": 7}', "7"), ('{"class": "cat", "width": 5}', "cat"),
        ('{"class": "third", "cls": "second", "label": "first"}', "first"), ('{"label": null, "cls": "b"}', "b"),
        ('{"label": 1e3}', "1e3"), ('{"label": true}', "true"),
    ],
)  # fmt: skip
def test_labels_in_json(tmp_path: Path, values: str, label: str) -> None:
    assert labels(tmp_path, ("a.jpg", PICTURE), ("a.json", values.encode())) == [label]


def test_the_files_of_a_key_may_lie_apart(tmp_path: Path) -> None:
    members = [("a.jpg", PICTURE), ("b.cls", b"dog"), ("c.txt", b""), ("a.cls", b"cat"), ("c.jpg", PICTURE)]

    found = read_shard(str(write_tar(tmp_path / "x.tar", [*members, ("b.png", PICTURE), ("c.cls", b"cow")])))

    assert list(zip(found.names, found.labels, strict=True)) == [("a.jpg", "cat"), ("b.png", "dog"), ("c.jpg", "cow")]


def test_images_without_a_label_may_be_left_out(tmp_path: Path) -> None:
    members = [("a.jpg", PICTURE), ("a.cls", b" "), ("b.jpg", PICTURE), ("b.cls", b"cat"), ("c.jpg", PICTURE)]

    found = read_shard(str(write_tar(tmp_path / "x.tar", members)), "skip")

    assert (found.names, found.num_unlabelled) == (["b.jpg"], 2)


def test_cls_wins_over_json(tmp_path: Path) -> None:
    members = [("a.json", json.dumps({"label": "json"}).encode()), ("a.jpg", PICTURE), ("a.cls", b"cls")]

    assert labels(tmp_path, *members) == ["cls"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.jpg", PICTURE)], "the key 'a' has an image and no label, only .jpg; expected a.cls, or a.json with one"),
        ([("a.jpg", PICTURE), ("a.json", b"{}")], "the key 'a' has an image and no label, only .jpg, .json"),
        ([("a.jpg", PICTURE), ("a.json", b"[1]")], "the key 'a' has an image and no label"),
        ([("a.cls", b"cat")], "the key 'a' has no image, only .cls (the key is the name up to its first dot)"),
        ([("a.jpg", PICTURE), ("a.png", PICTURE), ("a.cls", b"c")], "the key 'a' has two images, a.jpg and a.png"),
        (
            [("a.jpg", PICTURE), ("a.JPG", PICTURE), ("a.cls", b"c")],
            "the key 'a' has two files with the extension .jpg",
        ),
        ([("a.jpg", PICTURE), ("a.cls", b"c"), ("a.cls", b"d")], "the key 'a' has two files with the extension .cls"),
        (
            [
                ("a.jpg", PICTURE),
                ("a.cls", b"c"),
                ("b.jpg", PICTURE),
                ("b.cls", b"c"),
                ("a.jpg", PICTURE),
                ("a.cls", b"c"),
            ],
            "the key 'a' has two files with the extension .jpg; no two images may share a key",
        ),
        ([("a.jpg", PICTURE), ("a.cls", b"\n")], "the label of the key 'a' is empty; write it, or leave such"),
        ([("a.jpg", PICTURE), ("a.json", b'{"label": ""}')], "the label of the key 'a' is empty"),
        ([("a.jpg", PICTURE), ("a.cls", b"\xff\xfe")], "x.tar::a.cls holds a label that is not UTF-8 text"),
        ([("a.jpg", PICTURE), ("a.json", b"{")], "x.tar::a.json is not JSON"),
        ([("a.jpg", PICTURE), ("a.json", b"[" * 100_000)], "x.tar::a.json is not JSON"),
        ([("a.jpg", PICTURE), ("a.json", b'{"label": ["cat"]}')], "x.tar::a.json holds a label that is a list"),
        ([("a.jpg", PICTURE), ("a.json", b'{"label": {"a": 1}}')], "x.tar::a.json holds a label that is a dict"),
    ],
)
def test_what_is_wrong_is_reported_with_its_key(tmp_path: Path, members: list[tuple[str, bytes]], message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        labels(tmp_path, *members)

    assert str(caught.value).startswith(str(tmp_path / "x.tar"))
    assert "\n" not in str(caught.value)


def test_a_label_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_samples, "_MAX_LABEL_BYTES", 100)

    with pytest.raises(DataError, match=r"x\.tar::a\.cls holds a label and has 101 bytes; 1 MB is the most"):
        labels(tmp_path, ("a.jpg", PICTURE), ("a.cls", b"x" * 101))
