"""FIFOs, devices and sockets with the name of an image, a table or a shard: refused, and never opened."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from tests.helpers.photos import make_photos, write_table
from tests.helpers.shards import write_shard

from classifier_training.config.schema import DataConfig
from classifier_training.data.photos import load_photos
from classifier_training.data.sources.detect import list_photos
from classifier_training.errors import BadImageError, DataError, UserError
from classifier_training.files.atomic import write_text
from classifier_training.imaging.decode import decode_image
from classifier_training.inference.output import check_output
from classifier_training.types import ImageRecord

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


def make_special(path: Path, kind: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(path))  # a socket's name has at most a hundred characters
    return path


@pytest.mark.parametrize("name", ["t.csv", "a.tar", "x.parquet", "photos"])
def test_the_data_set_itself(tmp_path: Path, name: str) -> None:
    path = make_special(tmp_path / name, "FIFO")
    reason = rf"^cannot read {path}: it is a FIFO and not a plain file"

    with pytest.raises(DataError, match=rf"{reason}; name a folder of photos or a table file$"):
        list_photos(path, cache=tmp_path / "cache")
    if name == "a.tar":
        with pytest.raises(DataError, match=rf"{reason}$"):
            list_photos(tmp_path / "{a,b}.tar", cache=tmp_path / "cache")


def test_files_that_are_written_replace_no_device(tmp_path: Path) -> None:
    path = make_special(tmp_path / "out.csv", "FIFO")

    with pytest.raises(OSError, match="it is a FIFO and not a plain file") as caught:
        write_text(path, "a")
    with pytest.raises(UserError, match=rf"^--output {path}: it is a FIFO and not a plain file; name another file$"):
        check_output(path)

    assert caught.value.filename == str(path)
    assert path.is_fifo()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["FIFO", "device", "socket"])
def test_an_image(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = make_photos(tmp_path / "photos", {"a": 4, "b": 4})
    path = make_special(root / "a" / "9.png", kind)
    files = sorted(root.rglob("*.png"))
    rows = [{"image": f"photos/{file.parent.name}/{file.name}", "label": file.parent.name} for file in files]
    table = write_table(tmp_path / "t.csv", rows)
    reason = rf"cannot read {path}: it is a {kind} and not a plain file"

    for source in (root, table):
        config = DataConfig(root=str(source), cache_dir=str(tmp_path / "cache"))
        with pytest.raises(DataError, match=rf"^1 file\(s\) are not readable images: {reason}"):
            load_photos(config, 0)
        skipped = load_photos(config.model_copy(update={"on_bad_image": "skip"}), 0)
        assert [bad.path for bad in skipped.bad] == [str(path)]
    for image in (path, str(path), ImageRecord(str(path))):
        with pytest.raises(BadImageError, match=reason):
            decode_image(image)


@pytest.mark.parametrize(
    "name", ["annotations.csv", "train/annotations.jsonl", "metadata.csv", "x.tar", "x.parquet", "classes.json"]
)
def test_what_a_data_set_is_read_from(tmp_path: Path, name: str) -> None:
    path = make_special(tmp_path / "set" / name, "FIFO")
    if name == "classes.json":
        write_shard(tmp_path / "set" / "a.tar", ["0", "1"])
    elif name == "x.tar":
        with pytest.raises(DataError, match=r"x\.tar"):
            list_photos(path, cache=tmp_path / "cache")

    with pytest.raises(DataError, match=rf"^cannot read {path}: it is a FIFO and not a plain file$"):
        list_photos(tmp_path / "set", cache=tmp_path / "cache")
