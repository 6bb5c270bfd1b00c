from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from classifier_training.data.cache.mapped_file import WritableFile, map_file


def test_what_is_written_at_an_offset_is_seen_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    memory = map_file(path)

    WritableFile(path).write_at(3, b"abc")
    WritableFile(path).write_at(0, memoryview(b"z"))

    assert memory[:] == b"z\0\0abc\0\0\0\0"


def test_memory_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")

    with pytest.raises(TypeError):
        map_file(path)[0] = 1


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no open file")
def test_memory_stays_when_the_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    memory = map_file(path)

    path.unlink()

    assert memory[:] == b"abc"


def test_an_empty_or_missing_file_cannot_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    with pytest.raises(ValueError, match="empty"):
        map_file(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        map_file(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        WritableFile(tmp_path / "missing")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_device_is_an_error() -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        WritableFile(Path("/dev/full")).write_at(0, b"abc")


def test_threads_write_to_offsets_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4000))
    file = WritableFile(path)

    def write(number: int) -> None:
        for offset in range(number, 4000, 4):
            file.write_at(offset, bytes([number + 1]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert path.read_bytes() == b"\1\2\3\4" * 1000
