from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.data.sources.address import (
    absolute_root,
    file_name,
    is_pattern,
    is_remote,
    join,
    plain_scheme,
    readable_root,
    resolve,
    shown,
    split_address,
)

ADDRESSES = [
    "s3://bucket/photos/cat.jpg",
    "http://host:8080/a%20b/cat.jpg?size=large&x=/y",
    "memory:///photos/cat.jpg",
    "simplecache::s3://bucket/photos/cat.jpg",
    "zip://photos/cat.jpg::https://host/all.zip",
]


@pytest.mark.parametrize("address", [*ADDRESSES, "file:///photos", "gs://b", "hf://datasets/x/y"])
def test_addresses(address: str) -> None:
    assert is_remote(address)


def test_the_case_of_a_scheme_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plain_scheme("SimpleCache::HTTPS://Host/A?Sig=B") == "simplecache::https://Host/A?Sig=B"
    assert plain_scheme("ZIP://A.jpg::S3://Bucket/C.zip") == "zip://A.jpg::s3://Bucket/C.zip"
    assert plain_scheme("Photos/A") == "Photos/A"
    assert absolute_root("S3://Bucket/X") == "s3://Bucket/X"
    assert join("HTTP://h/a?sig=1", "b") == join("http://h/a?sig=1", "b")
    assert split_address("HTTPS://h/a/b?c=1") == split_address("https://h/a/b?c=1")
    assert resolve("HTTPS://h/a", "b c#.jpg") == "https://h/a/b%20c%23.jpg"
    assert resolve("s3://b", "HTTPS://h/a") == "https://h/a"
    assert file_name("HTTP://h/a%20b?x") == "a b"
    monkeypatch.setenv("CLASSIFIER_TRAINING_DATA_ROOT", "HTTPS://h/a?sig=secret")
    assert readable_root("https://h/a?…") == "https://h/a?sig=secret"


@pytest.mark.parametrize(
    "path", ["photos", "/photos/a.tar::b.jpg", "C:\\photos", "C:/photos", "a:b", "a::b", "", "://x", "p/s3://x"]
)
def test_paths(path: str) -> None:
    assert not is_remote(path)


@pytest.mark.parametrize("address", ADDRESSES[:1] + ADDRESSES[2:])
def test_splitting_and_joining_are_each_others_reverse(address: str) -> None:
    location, name = split_address(address)

    assert name == "cat.jpg"
    assert join(location, name) == address


def test_a_query_stays_with_its_name() -> None:
    address = "http://host/image?id=5"

    assert split_address(address) == ("http://host", "image?id=5")
    assert join(*split_address(address)) == address


@pytest.mark.parametrize(
    ("folder", "path", "expected"),
    [
        ("s3://bucket/tables", "a/b.jpg", "s3://bucket/tables/a/b.jpg"),
        ("s3://bucket/tables", "../b.jpg", "s3://bucket/b.jpg"),
        ("s3://bucket/tables", "../../../../b.jpg", "s3://bucket/b.jpg"),
        ("s3://bucket/tables", "/b.jpg", "s3://bucket/b.jpg"),
        ("s3://bucket", "b.jpg", "s3://bucket/b.jpg"),
        ("memory:///tables", "./b.jpg", "memory:///tables/b.jpg"),
        ("http://host/tables", "50% #1?.jpg", "http://host/tables/50%25%20%231%3F.jpg"),
        ("s3://bucket/tables", "gs://other/b.jpg", "gs://other/b.jpg"),
        ("zip://tables::s3://b/c.zip", "x/y.jpg", "zip://tables/x/y.jpg::s3://b/c.zip"),
    ],
)
def test_relative_paths(folder: str, path: str, expected: str) -> None:
    assert resolve(folder, path) == expected


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("s3://bucket/photos/a%20b.jpg", "a%20b.jpg"),
        ("http://host/photos/a%20b.jpg?x=1", "a b.jpg"),
        ("http://host/photos/", "photos"),
        ("zip://photos/cat.jpg::s3://b/c.zip", "cat.jpg"),
    ],
)
def test_names(address: str, name: str) -> None:
    assert file_name(address) == name


def test_secrets_are_not_shown() -> None:
    assert shown("https://me:secret@host/x?sig=secret&y=2") == "https://host/x?…"
    assert shown("zip://a::https://me:secret@host/x?sig=secret") == "zip://a::https://host/x?…"
    assert shown("s3://bucket/a@b/c") == "s3://bucket/a@b/c"


def test_roots_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert absolute_root("a/../b-{0..1}.tar") == str(tmp_path / "b-{0..1}.tar")
    assert absolute_root(Path("~/photos")) == str(tmp_path / "home" / "photos")
    assert absolute_root("s3://bucket/a") == "s3://bucket/a"


def test_a_folder_with_braces_in_its_name_is_not_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "{0..1}"

    assert is_pattern(str(folder))
    folder.mkdir()
    assert not is_pattern(str(folder))
    assert not is_pattern("photos")
