"""Remote images are those that lie at their addresses now."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
from tests.helpers.photos import make_photo, make_photos
from tests.helpers.web import serve

from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.sources.local_copies import with_local_images
from classifier_training.data.sources.remote import current_copies


def listing_of(folder: str, *names: str) -> Listing:
    rows = RowWriter()
    rows.add(folder, list(names), "x")
    return Listing("remote", rows.table())


def contents(listing: Listing) -> list[bytes]:
    return [sample.image.read() for sample in listing.samples()]


def test_a_changed_image_is_fetched_again_and_no_other(tmp_path: Path) -> None:
    served = make_photos(tmp_path / "served", {"a": 3}) / "a"
    names = ["0.png", "1.png", "2.png"]
    with serve(tmp_path / "served") as web:
        listing = listing_of(f"{web.address}/a", *names)
        with_local_images(listing, tmp_path / "cache")
        make_photo(served / "1.png", 50)
        os.utime(served / "1.png", (2e9, 2e9))  # pages give whole seconds

        again = with_local_images(listing, tmp_path / "cache")

    assert contents(again) == [(served / name).read_bytes() for name in names]
    assert dict(web.gets) == {"/a/0.png": 1, "/a/1.png": 2, "/a/2.png": 1}


def test_an_image_that_is_gone_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    served = make_photos(tmp_path / "served", {"a": 2}) / "a"
    with serve(tmp_path / "served") as web:
        listing = listing_of(f"{web.address}/a", "0.png", "1.png")
        with_local_images(listing, tmp_path / "cache")
        (served / "0.png").unlink()

        samples = with_local_images(listing, tmp_path / "cache").samples()

    assert samples[0].path == f"{web.address}/a/0.png"
    assert samples[1].image.read() == (served / "1.png").read_bytes()


def test_copies_are_used_where_the_addresses_cannot_be_read_any_more(tmp_path: Path) -> None:
    served = make_photos(tmp_path / "served", {"a": 2}) / "a"
    with serve(tmp_path / "served") as web:
        listing = listing_of(f"{web.address}/a", "0.png", "1.png")
        before = with_local_images(listing, tmp_path / "cache")
        web.failures = {"/a/0.png": [403] * 2, "/a/1.png": [403] * 2}

        after = with_local_images(listing, tmp_path / "cache")

    assert contents(after) == contents(before) == [(served / name).read_bytes() for name in ("0.png", "1.png")]
    (warning,) = after.warnings
    assert warning.startswith("2 remote image(s) are used as they were fetched before, as their addresses cannot be")
    assert before.warnings == []


def test_a_store_is_asked_by_one_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fsspec.filesystem("memory")
    names = ["0.png", "1.png", "2.png"]
    for number, name in enumerate(names):
        store.pipe(f"/test_copies/{name}", bytes([number]))
    listing = listing_of("memory:///test_copies", *names)
    cache = tmp_path / "cache"
    with_local_images(listing, cache)
    asked: list[str] = []
    info = type(store).info

    def note(self: object, path: str, **options: object) -> object:
        asked.append(path)
        return info(self, path, **options)

    monkeypatch.setattr(type(store), "info", note)
    assert current_copies("memory:///test_copies", names, cache) == set(names)
    with_local_images(listing, cache)
    assert asked == []

    store.pipe("/test_copies/1.png", b"another")

    assert current_copies("memory:///test_copies", names, cache) == {"0.png", "2.png"}
    assert contents(with_local_images(listing, cache)) == [b"\0", b"another", b"\2"]
