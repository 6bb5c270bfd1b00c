from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.errors import DataError
from classifier_training.inference.files import find_images


def make_files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_are_searched_in_sorted_order_and_hidden_files_ignored(tmp_path: Path) -> None:
    make_files(tmp_path, "b/2.JPG", "b/10.png", "a/x.webp", "c.tiff", "b/.hidden.jpg", ".git/y.jpg", "b/notes.txt")

    found = find_images([tmp_path])

    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/x.webp", "b/10.png", "b/2.JPG", "c.tiff"]


def test_named_files_are_taken_in_the_given_order_with_any_name(tmp_path: Path) -> None:
    make_files(tmp_path, "photo", "folder/a.jpg")

    assert find_images([str(tmp_path / "photo"), tmp_path / "folder"]) == [
        tmp_path / "photo",
        tmp_path / "folder" / "a.jpg",
    ]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    make_files(tmp_path, "photos/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")

    assert [path.name for path in find_images([tmp_path / "photos"])] == ["a.jpg", "b.jpg"]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such file or folder: .*nothing"):
        find_images([tmp_path, tmp_path / "nothing"])


def test_a_folder_without_images_is_named(tmp_path: Path) -> None:
    make_files(tmp_path, "notes.txt")

    with pytest.raises(DataError, match=rf"no images in {tmp_path}; searched for files that end in .*\.jpg"):
        find_images([tmp_path])
    with pytest.raises(DataError, match="no image was named"):
        find_images([])
