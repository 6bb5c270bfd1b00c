from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers.photos import make_photo

from classifier_training.data.index.check import (
    MODES,
    BadImage,
    BadImagePolicy,
    Facts,
    bad_images,
    check_bad,
    inspect_records,
)
from classifier_training.errors import DataError, printable
from classifier_training.files.text import name_some
from classifier_training.types import ImageRecord, file_stamp


def broken(path: Path, content: bytes = b"no image") -> Path:
    path.write_bytes(content)
    return path


def records(*paths: Path | str) -> list[ImageRecord]:
    return [ImageRecord(str(path)) for path in paths]


def test_facts_are_those_of_the_content(tmp_path: Path) -> None:
    paths = [make_photo(tmp_path / f"{number}.png", seed, (20, 16 + seed)) for number, seed in enumerate([1, 2, 1])]

    facts = inspect_records(records(*paths))

    for position, path in enumerate(paths):
        assert facts.digests[position].tobytes() == hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
        assert facts.stamps[position] == file_stamp(path.stat())
    assert facts.widths.tolist() == [20, 20, 20]
    assert facts.heights.tolist() == [17, 18, 17]
    assert [MODES[code] for code in facts.modes] == ["RGB"] * 3
    assert facts.errors == {}


def test_modes_are_those_that_the_files_store(tmp_path: Path) -> None:
    modes = ["L", "RGBA", "CMYK", "P", "1", "I;16"]
    paths = [tmp_path / f"{number}.{'jpg' if mode == 'CMYK' else 'png'}" for number, mode in enumerate(modes)]
    for path, mode in zip(paths, modes, strict=True):
        Image.new(mode, (8, 9)).save(path)

    facts = inspect_records(records(*paths, broken(tmp_path / "bad.png")))

    assert [MODES[code] for code in facts.modes] == [*modes, "other"]


def test_a_part_of_a_file_is_an_image_of_its_own(tmp_path: Path) -> None:
    content = make_photo(tmp_path / "a.png", 1).read_bytes()
    shard = broken(tmp_path / "shard.tar", b"before" + content + b"behind")

    facts = inspect_records([ImageRecord(str(shard), 6, len(content), "a.png"), ImageRecord(str(shard), 0, 6, "b.png")])

    assert facts.digests[0].tobytes() == hashlib.blake2b(content, digest_size=16).digest()
    assert list(facts.errors) == [1]
    assert facts.errors[1].startswith(f"cannot read {shard}::b.png: it is not an image")


def test_what_is_known_is_not_read_again(tmp_path: Path) -> None:
    path, other = make_photo(tmp_path / "a.png", 1), make_photo(tmp_path / "b.png", 2)
    facts = Facts.empty(2)

    inspect_records(records(path, other), None, lambda position, stamp: stamp == file_stamp(path.stat()), facts)

    assert not facts.digests[0].any()
    assert facts.digests[1].any()


@pytest.mark.parametrize("count", [3, 3000])
def test_progress_reaches_the_number_of_all(tmp_path: Path, count: int) -> None:
    path = make_photo(tmp_path / "a.png", 0, (1, 1))
    messages: list[tuple[int, int]] = []

    inspect_records(records(*[path] * count), lambda done, total: messages.append((done, total)))

    assert messages == sorted(set(messages))
    assert messages[-1] == (count, count)
    assert len(messages) >= min(count, 1000)


def test_no_files() -> None:
    assert len(inspect_records([]).digests) == 0


@pytest.mark.parametrize("name", ["missing.png", "nul\0.png", ".", "text.png", "empty.png", "cut.png"])
def test_a_file_that_is_not_an_image_is_named(tmp_path: Path, name: str) -> None:
    broken(tmp_path / "text.png")
    broken(tmp_path / "empty.png", b"")
    whole = make_photo(tmp_path / "whole.png", 0).read_bytes()
    broken(tmp_path / "cut.png", whole[: len(whole) // 2])
    path = f"{tmp_path}/{name}"

    facts = inspect_records(records(path))
    bad = bad_images(records(path), facts.errors)

    assert not facts.digests.any()
    assert [image.path for image in bad] == [path]
    assert printable(path) in bad[0].reason
    with pytest.raises(DataError) as caught:
        check_bad(bad, 1, BadImagePolicy())
    assert printable(path) in str(caught.value)
    assert "data.on_bad_image=skip" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_changed_after_it_was_checked_is_refused(tmp_path: Path) -> None:
    path = make_photo(tmp_path / "a.png", 0)
    record = ImageRecord(str(path), stamp=file_stamp(path.stat()))
    assert record.read() == path.read_bytes()

    os.utime(path, ns=(1, 1))

    with pytest.raises(OSError, match="has changed since it was checked"):
        record.read()


def test_many_broken_files_are_counted_and_some_named(tmp_path: Path) -> None:
    paths = [broken(tmp_path / f"{number}.png") for number in range(7)]
    every = records(*paths, make_photo(tmp_path / "good.png", 0))
    bad = bad_images(every, inspect_records(every).errors)

    with pytest.raises(DataError, match=r"^7 file\(s\) .*0\.png.*2\.png.* and 4 more; ") as caught:
        check_bad(bad, 8, BadImagePolicy())

    assert "3.png" not in str(caught.value)
    assert [image.path for image in bad] == list(map(str, paths))


def test_a_share_of_broken_files_may_be_skipped() -> None:
    bad = [BadImage(f"{number}.png", f"cannot read {number}.png: broken") for number in range(3)]

    check_bad(bad, 10, BadImagePolicy("skip", 0.3))
    with pytest.raises(DataError, match=r"^3 of 10 files .* more than data\.max_bad_fraction=0\.29 allows: .*0\.png"):
        check_bad(bad, 10, BadImagePolicy("skip", 0.29))
    check_bad((), 10, BadImagePolicy())


def test_naming_some() -> None:
    assert name_some([]) == ""
    assert name_some("abc") == "a, b, c"
    assert name_some("abcde") == "a, b, c and 2 more"
