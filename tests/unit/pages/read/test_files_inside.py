from __future__ import annotations

import os
from pathlib import Path

import pytest

from classifier_training.pages.read.files_inside import MAX_BYTES, FilesInside


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    folder = tmp_path / "val"
    (folder / "pictures").mkdir(parents=True)
    (folder / "pictures" / "1.jpg").write_bytes(b"jpeg")
    return folder


def test_a_file_in_the_folder_is_found(root: Path) -> None:
    assert FilesInside(root).find("pictures/1.jpg") == root / "pictures" / "1.jpg"


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        ".",
        "pictures",
        "pictures/2.jpg",
        "../secret.jpg",
        "pictures/../../secret.jpg",
        "pictures/../pictures/1.jpg",
        "/etc/passwd",
        "..\\secret.jpg",
        "C:/secret.jpg",
        "pictures/1.jpg\0",
        "pictures/1.jpg/x",
        "x" * 300,
        "file:///etc/passwd",
    ],
)
def test_nothing_else_is(root: Path, name: str | None) -> None:
    assert FilesInside(root).find(name) is None


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_no_link_is_followed(root: Path) -> None:
    (root / "pictures" / "link.jpg").symlink_to(root.parent / "secret.jpg")
    (root / "folder").symlink_to(root.parent)

    inside = FilesInside(root)

    assert inside.find("pictures/link.jpg") is None
    assert inside.find("folder/secret.jpg") is None


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes in folders")
def test_a_pipe_is_not_opened(root: Path) -> None:
    os.mkfifo(root / "pictures" / "pipe.jpg")

    assert FilesInside(root).find("pictures/pipe.jpg") is None


@pytest.mark.parametrize("size", [0, MAX_BYTES + 1])
def test_empty_and_large_files_are_not_shown(root: Path, size: int) -> None:
    with (root / "pictures" / "1.jpg").open("wb") as file:
        file.truncate(size)

    assert FilesInside(root).find("pictures/1.jpg") is None


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_the_folder_itself_may_be_reached_by_a_link(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(root)

    assert FilesInside(link).find("pictures/1.jpg") == link / "pictures" / "1.jpg"
