"""Which images are found, in which order, and how many are held at a time."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from classifier_training.errors import DataError
from classifier_training.inference.listing import (
    ImageCount,
    find_images,
    is_address,
    listed_names,
    named_images,
    walk_images,
)
from classifier_training.types import ImageRecord


def ignore(_: str) -> None:
    """Takes warnings that a test does not look at."""


def make_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_are_searched_in_sorted_order_and_hidden_files_ignored(tmp_path: Path) -> None:
    make_files(tmp_path, "b/2.JPG", "b/10.png", "a/x.webp", "c.tiff", "b/.hidden.jpg", ".git/y.jpg", "b/notes.txt")

    found = find_images([tmp_path], ignore)

    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/x.webp", "b/10.png", "b/2.JPG", "c.tiff"]


def test_named_files_are_taken_in_the_given_order_with_any_name(tmp_path: Path) -> None:
    make_files(tmp_path, "photo", "folder/a.jpg")

    assert find_images([str(tmp_path / "photo"), tmp_path / "folder"], ignore) == [
        tmp_path / "photo",
        tmp_path / "folder" / "a.jpg",
    ]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    make_files(tmp_path, "photos/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")

    assert [path.name for path in find_images([tmp_path / "photos"], ignore)] == ["a.jpg", "b.jpg"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file or folder: .*nothing"):
        find_images([tmp_path, tmp_path / "nothing"], ignore)


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    make_files(tmp_path, "notes.txt")

    with pytest.raises(DataError, match=rf"no images in {tmp_path}; searched for files that end in .*\.jpg"):
        find_images([tmp_path], ignore)
    with pytest.raises(DataError, match="the name of an image is empty"):
        find_images([str(tmp_path), ""], ignore)
    with pytest.raises(DataError, match="no image was named"):
        find_images([], ignore)


def test_files_that_are_not_read_are_warned_of(tmp_path: Path) -> None:
    make_files(tmp_path, "1.jpg", "2.jpg", "3.jpg", "a.HEIC", "b.heic", "notes.txt", "plain", ".hidden.heic")
    warnings: list[str] = []

    assert len(find_images([tmp_path], warnings.append)) == 3
    (warning,) = warnings
    assert warning == (
        f"files below {tmp_path} that are not images are ignored: 2 × .heic, 1 × .txt, 1 × no extension; to use the"
        " .heic files, convert them to JPEG or PNG"
    )


def test_what_systems_leave_behind_is_skipped_as_in_training(tmp_path: Path) -> None:
    make_files(
        tmp_path,
        "1.jpg",
        "2.jpg",
        "3.jpg",
        "@eaDir/a.jpg",
        "x/@eaDir/b.jpg",
        "__MACOSX/c.jpg",
        "lost+found/d.jpg",
        ".git/e.jpg",
    )
    notices: list[str] = []

    assert len(find_images([tmp_path], notices.append)) == 3
    assert notices == [
        f"what systems and programs have left below {tmp_path} is skipped: @eaDir (2), __MACOSX (1), lost+found (1)"
    ]
    assert find_images([tmp_path / "@eaDir"], notices.append) == [tmp_path / "@eaDir" / "a.jpg"]  # named on purpose


def test_a_name_that_is_too_long_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        find_images([tmp_path / ("x" * 300)], ignore)


def test_a_pattern_stands_for_what_it_matches(tmp_path: Path) -> None:
    make_files(tmp_path, "b.jpg", "a.jpg", "deep/er/c.jpg", "x.png", "[1].jpg")

    assert [path.name for path in find_images([tmp_path / "*.jpg"], ignore)] == ["[1].jpg", "a.jpg", "b.jpg"]
    assert [path.name for path in find_images([f"{tmp_path}/**/c.*"], ignore)] == ["c.jpg"]
    assert [path.name for path in find_images([tmp_path / "[1].jpg"], ignore)] == ["[1].jpg"]  # a file of that name
    with pytest.raises(DataError, match=r"no file or folder matches .*\*\.gif"):
        find_images([tmp_path / "*.gif"], ignore)


def test_a_folder_is_walked_while_its_first_images_are_used(tmp_path: Path) -> None:
    make_files(tmp_path, "a/1.jpg", "b/2.jpg")
    images = iter(walk_images(tmp_path, ignore))

    assert next(images).name == "1.jpg"
    (tmp_path / "b" / "2.jpg").unlink()
    make_files(tmp_path, "b/3.jpg")
    assert [image.name for image in images] == ["3.jpg"]


def test_what_is_named_wrongly_is_found_before_the_first_image(tmp_path: Path) -> None:
    make_files(tmp_path, "a.jpg")

    with pytest.raises(DataError, match="no such file or folder"):
        next(named_images([tmp_path / "a.jpg", tmp_path / "nothing"], ignore))


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"a b.jpg\nc.jpg\r\n\n./d.jpg", ["a b.jpg", "c.jpg", "./d.jpg"]),
        (b"two\nlines.jpg\0c.jpg\0", ["two\nlines.jpg", "c.jpg"]),
        (b"\xef\xbb\xbfcaf\xe9.jpg\n", ["caf\udce9.jpg"]),
        (b"", []),
        (b"\n".join([b"x" * 90] * 2_000), ["x" * 90] * 2_000),
        (b"\0".join([b"x\n" * 45] * 2_000), ["x\n" * 45] * 2_000),
    ],
    ids=["lines", "NUL", "not UTF-8", "empty", "many lines", "many NULs"],
)
def test_a_list_is_read_by_lines_or_by_nul(content: bytes, names: list[str]) -> None:
    assert list(listed_names(io.BytesIO(content))) == names


def test_a_list_names_files_folders_and_what_is_missing(tmp_path: Path) -> None:
    make_files(tmp_path, "more/b.jpg", "a.jpg")
    listed = f"{tmp_path / 'a.jpg'}\n{tmp_path / 'more'}\n{tmp_path / 'missing.jpg'}\n".encode()

    found = list(named_images(["-"], ignore, standard_input=io.BytesIO(listed)))

    assert found == [tmp_path / "a.jpg", tmp_path / "more" / "b.jpg", tmp_path / "missing.jpg"]
    with pytest.raises(DataError, match="no images in standard input"):
        list(named_images(["-"], ignore, standard_input=io.BytesIO(b"\n")))


def test_addresses_are_given_to_whoever_reads_them(tmp_path: Path) -> None:
    opened: list[str] = []

    def open_address(address: str) -> Iterable[ImageRecord]:
        opened.append(address)
        return [ImageRecord(address)]

    listed = io.BytesIO(b"s3://bucket/b.jpg\n")
    found: Any = list(
        named_images(["https://host/a.jpg", "-"], ignore, open_address=open_address, standard_input=listed)
    )

    assert opened == [image.path for image in found] == ["https://host/a.jpg", "s3://bucket/b.jpg"]
    assert [is_address(text) for text in ("zip://a.jpg::s3://b/c.zip", "C:/a.jpg", "a://b", "://b")] == [
        True,
        False,
        True,
        False,
    ]


def test_many_names_are_sorted_as_few_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classifier_training.inference.listing._NAMES_IN_A_BLOCK", 3)
    names = ["b", "a.jpg", "a", "ab", "B.jpg", "ü.jpg", "\ue000.jpg", "\U0001f600.jpg", "z.jpg", "a-1.jpg", "0" * 200]
    make_files(tmp_path, *(name if name.endswith(".jpg") else f"{name}/x.jpg" for name in names))

    found = find_images([tmp_path])

    assert found == sorted(tmp_path.rglob("*.jpg"), key=lambda path: path.parts)
    assert sorted(walk_images(tmp_path, ignore, in_order=False)) == sorted(found)


def test_images_are_counted_beside_the_work(tmp_path: Path) -> None:
    make_files(tmp_path, *(f"{number}.jpg" for number in range(5)))
    count = ImageCount([str(tmp_path), str(tmp_path / "1.jpg")])

    assert count.thread is not None
    count.thread.join()
    assert count.total == 6
    assert ImageCount(["-"]).thread is None
