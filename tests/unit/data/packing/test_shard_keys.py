from __future__ import annotations

from collections.abc import Sequence

import pytest

from classifier_training.data.packing.shard_keys import ShardKeys
from classifier_training.data.sources.shard_samples import key_of
from classifier_training.types import ImageRecord


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
