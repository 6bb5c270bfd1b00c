from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.photos import make_photo, make_photos

from classifier_training.data.index import cache as index_cache
from classifier_training.data.index import check as inspect_module
from classifier_training.data.index import table as index_module
from classifier_training.data.index.cache import load_index
from classifier_training.data.index.check import MODES
from classifier_training.data.index.table import Index
from classifier_training.data.sources.table import Columns
from classifier_training.errors import BadImageError
from classifier_training.imaging import decode
from classifier_training.types import Decoding


class Source:
    """A folder of photos that was indexed before, with clocks set back so that nothing seems to be of this moment."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = make_photos(tmp_path / "photos", {"a": 3, "b": 2})
        self.cache = tmp_path / "cache"
        self.age()
        self.first = self.load()
        self.made_at = self.first.metadata["made_at_ns"]

    def age(self, clock_ns: int = 10**18) -> None:
        for folder in (self.root, self.root / "a", self.root / "b"):
            os.utime(folder, ns=(clock_ns, clock_ns))

    def load(self) -> Index:
        self.checked: list[tuple[int, int]] = []
        return load_index(
            str(self.root), Columns(), self.cache, checking=lambda done, total: self.checked.append((done, total))
        )

    def is_rebuilt(self) -> bool:
        return bool(self.load().metadata["made_at_ns"] != self.made_at)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def test_an_index_is_found_again(source: Source) -> None:
    assert not source.is_rebuilt()
    assert source.checked == [(5, 5)]
    assert len(source.load()) == 5


@pytest.mark.parametrize("change", ["add", "remove", "rename", "rewrite", "folder", "class"])
def test_a_change_rebuilds_it(source: Source, change: str) -> None:
    first = source.root / "a" / "0.png"
    if change == "add":
        make_photo(source.root / "b" / "new.png", 50)
    elif change == "remove":
        first.unlink()
    elif change == "rename":
        first.rename(first.with_name("z.png"))
    elif change == "rewrite":
        make_photo(first, 99)
    elif change == "folder":
        (source.root / "a").rename(source.root / "c")
    else:
        make_photos(source.root, {"new": 1}, first_seed=70)

    assert source.is_rebuilt()
    labels = source.load()
    assert [labels.record(row).path for row in range(len(labels))] == sorted(map(str, source.root.rglob("*.png")))


def test_an_index_of_another_version_is_rebuilt(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "FORMAT_VERSION", index_module.FORMAT_VERSION + 1)
    assert source.is_rebuilt()
    assert not any(source.load().errors)


def test_only_what_changed_is_read_again(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    make_photo(source.root / "b" / "new.png", 50)
    read: list[str] = []
    check = decode.check_image

    def note(content: bytes, name: str, **options: Any) -> decode.CheckedImage:
        read.append(Path(name).name)
        return check(content, name, **options)

    monkeypatch.setattr(inspect_module, "check_image", note)
    again = source.load()

    assert read == ["new.png"]
    assert again.digests[0].tobytes() == source.first.digests[0].tobytes()
    assert again.widths.tolist() == [20] * 6
    assert [MODES[code] for code in again.modes] == ["RGB"] * 6


def test_a_broken_file_is_read_again_only_when_it_changes(source: Source) -> None:
    broken = source.root / "b" / "broken.png"
    broken.write_bytes(b"")
    source.age(10**18 + 1)
    first = source.load()
    assert list(first.errors) == [5]

    assert source.load().metadata["made_at_ns"] == first.metadata["made_at_ns"]
    make_photo(broken, 5)
    assert source.load().errors == {}


def test_a_file_that_can_be_read_again_is_no_longer_bad(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has healed, a decoder that is newer: nothing of the file itself has changed."""
    make_photo(source.root / "b" / "new.png", 50)
    source.age(10**18 + 1)
    check = decode.check_image

    def fail(content: bytes, name: str, **options: Any) -> decode.CheckedImage:
        if name.endswith("new.png"):
            raise BadImageError(f"cannot read {name}: input/output error")
        return check(content, name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(inspect_module, "check_image", fail)
        bad = source.load()
        assert list(bad.errors) == [5]
        assert source.load().metadata["made_at_ns"] == bad.metadata["made_at_ns"]

    healed = source.load()

    assert healed.errors == {}
    assert healed.widths[5] == 20
    assert source.load().metadata["made_at_ns"] == healed.metadata["made_at_ns"]


@pytest.mark.parametrize("way", ["replaced", "written"])
def test_another_content_of_the_same_size_and_time_is_noticed(source: Source, way: str) -> None:
    photo = source.root / "a" / "0.png"
    before = photo.stat()
    content = photo.read_bytes()[:-1] + b"\0"
    if way == "replaced":
        (source.root / "new").write_bytes(content)
        (source.root / "new").replace(photo)
    else:
        photo.write_bytes(content)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    source.age()
    assert (photo.stat().st_size, photo.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)

    after = source.load()

    assert after.digests[0].tobytes() != source.first.digests[0].tobytes()
    assert after.digests[1:].tobytes() == source.first.digests[1:].tobytes()


def test_of_very_many_files_only_the_folders_are_compared(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_cache, "MAX_FILES_COMPARED", 4)
    make_photo(source.root / "a" / "0.png", 99)
    index = source.load()

    assert index.metadata["made_at_ns"] == source.made_at
    with pytest.raises(OSError, match="has changed since it was checked"):
        index.record(0).read()


def test_folders_that_changed_at_this_moment_are_not_trusted(tmp_path: Path) -> None:
    root = make_photos(tmp_path / "photos", {"a": 1, "b": 1})
    first = load_index(str(root), Columns(), tmp_path / "cache")

    assert load_index(str(root), Columns(), tmp_path / "cache").metadata["made_at_ns"] != first.metadata["made_at_ns"]


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_spoilt_index_is_rebuilt(source: Source, content: bytes) -> None:
    source.first.path.write_bytes(content)

    assert len(source.load()) == 5
    assert source.is_rebuilt()


def test_other_columns_and_roots_have_their_own(source: Source, tmp_path: Path) -> None:
    shutil.copytree(source.root, tmp_path / "copy")

    other = load_index(str(tmp_path / "copy"), Columns(), source.cache)
    columns = load_index(str(source.root), Columns(label="kind"), source.cache)

    assert len({source.first.path, other.path, columns.path}) == 3


def test_without_a_writable_cache_folder_it_warns_and_works(source: Source, tmp_path: Path) -> None:
    (tmp_path / "no-folder").write_text("")

    with pytest.warns(UserWarning, match=r"cache folder .*no-folder cannot be written .*data\.cache_dir"):
        index = load_index(str(source.root), Columns(), tmp_path / "no-folder")

    assert len(index) == 5
    assert not index.path.is_relative_to(tmp_path)


def test_another_pixel_limit_is_another_index(source: Source) -> None:
    limited = load_index(str(source.root), Columns(), source.cache, decoding=Decoding(100))

    assert len(limited.errors) == 5
    assert "data.max_image_pixels" in limited.errors[0]
    assert source.load().errors == {}


def test_of_two_processes_at_once_one_reads_the_images(tmp_path: Path) -> None:
    root = make_photos(tmp_path / "photos", {"a": 30, "b": 30})
    for folder in (root, root / "a", root / "b"):
        os.utime(folder, ns=(10**18, 10**18))
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from classifier_training.data.index.cache import load_index\n"
        "from classifier_training.data.sources.table import Columns\n"
        "calls = []\n"
        "index = load_index(sys.argv[1], Columns(), Path(sys.argv[2]), checking=lambda done, all: calls.append(done))\n"
        "print(index.metadata['made_at_ns'], len(calls))\n"
    )
    command = [sys.executable, "-c", code, str(root), str(tmp_path / "cache")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    messages = [process.communicate()[0].split() for process in processes]

    assert len({made_at for made_at, _ in messages}) == 1
    assert sorted(int(number) > 1 for _, number in messages) == [False, False, True]
    assert {path.suffix for path in (tmp_path / "cache" / "index").iterdir()} == {".arrow", ".lock"}


def test_what_a_killed_process_left_is_removed(source: Source) -> None:
    left = source.first.path.with_name(f".{source.first.path.name}.rows.tmp")
    left.write_bytes(b"half")
    make_photo(source.root / "a" / "new.png", 50)

    assert len(source.load()) == 6
    assert not left.exists()


def test_a_start_does_not_wait_for_pandas(source: Source, tmp_path: Path) -> None:
    """Which pyarrow imports for its own conversions, where it is installed."""
    (tmp_path / "pandas.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')\n__version__ = '3.0.0'\n")
    code = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from classifier_training.data.index.table import Index\n"
        "index = Index(sys.argv[1])\n"
        "index.labels, index.splits, index.widths, index.stamps, index.digests\n"
    )

    subprocess.run([sys.executable, "-c", code, source.first.path, tmp_path], check=True)

    assert not (tmp_path / "imported").exists()
