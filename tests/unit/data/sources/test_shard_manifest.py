from __future__ import annotations

import json
from pathlib import Path

import pytest

from classifier_training.data.sources.shard_manifest import Manifest, ShardEntry, check_shards, read_manifest
from classifier_training.errors import DataError

ENTRY = ShardEntry("train-000000.tar", 0, 2, 10240, "ab", "cd")


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    manifest = Manifest({"photos": "é", "size": None}, {ENTRY.file: ENTRY}, is_complete=True)

    manifest.write(tmp_path)

    assert read_manifest(tmp_path / "prepare.json") == manifest


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        '{"version": 1}',
        '{"version": 1, "made_of": {}, "is_complete": true, "shards": [{"file": 1}]}',
    ],
)
def test_a_file_that_is_not_a_manifest(tmp_path: Path, content: str) -> None:
    (tmp_path / "prepare.json").write_text(content)

    with pytest.raises(DataError, match=r"prepare\.json is not what classifier-training prepare writes"):
        read_manifest(tmp_path / "prepare.json")


def test_another_version(tmp_path: Path) -> None:
    (tmp_path / "prepare.json").write_text(json.dumps({"version": 2}))

    with pytest.raises(DataError, match=r"prepare\.json is of version 2, not 1; prepare the photos again"):
        read_manifest(tmp_path / "prepare.json")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*prepare\.json: No such file"):
        read_manifest(tmp_path / "prepare.json")


def test_a_folder_is_compared_with_it() -> None:
    manifest = Manifest({}, {ENTRY.file: ENTRY}, is_complete=True)

    check_shards(manifest, "/shards", {ENTRY.file: 10240, "other.tar": 5})
    with pytest.raises(DataError, match=r"^1 of the 1 shards of /shards are missing: train-000000\.tar"):
        check_shards(manifest, "/shards", {})
    with pytest.raises(DataError, match=r"^/shards: train-000000\.tar has 10239 bytes and not 10240"):
        check_shards(manifest, "/shards", {ENTRY.file: 10239})
