from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.helpers.photos import make_photos
from tests.helpers.web import serve

from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.sources.remote_images import with_local_images
from classifier_training.errors import BadImageError, DataError
from classifier_training.imaging.decode import decode_image


def test_remote_images_become_local_ones(tmp_path: Path) -> None:
    served, cache = make_photos(tmp_path / "served", {"a": 2, "b c": 1}), tmp_path / "cache"
    messages: list[tuple[int, int]] = []
    with serve(served) as web:
        rows = RowWriter()
        rows.add(f"{web.address}/a", ["0.png", "1.png"], "x", split="train", weights=[1.0, 2.0])
        rows.add(str(served / "a"), ["0.png"], "y", split="val")
        rows.add(f"{web.address}/b%20c", ["0.png"], "z", split="train")
        rows.add("x.tar", ["k.png"], ["z"], offsets=[512], sizes=[9], split="train")
        listing = Listing("remote", rows.table(), {"train": "t", "val": "v"}, ["w"], ["f"])

        local = with_local_images(listing, cache, lambda done, total: messages.append((done, total)))
        again = with_local_images(listing, cache)

    samples = local.samples("train")
    paths = [served / "a" / "0.png", served / "a" / "1.png", served / "b c" / "0.png"]
    assert [sample.image.read() for sample in samples[:3]] == [path.read_bytes() for path in paths]
    assert all(Path(sample.image.path).is_relative_to(cache) for sample in samples[:3])
    assert str(samples[3].image) == "x.tar::k.png"
    assert local.samples("val")[0].image.path == str(served / "a" / "0.png")
    assert local.rows.drop_columns(["place", "name"]).equals(listing.rows.drop_columns(["place", "name"]))
    assert (local.layout, local.locations, local.warnings, local.watched) == (
        "remote", {"train": "t", "val": "v"}, ["w"], ["f"],
    )  # fmt: skip
    assert again.rows.equals(local.rows)
    assert sum(web.gets.values()) == 3
    assert messages == [(1, 3), (2, 3), (3, 3)]


def test_local_listings_stay_as_they_are(tmp_path: Path) -> None:
    rows = RowWriter()
    rows.add("photos", ["s3:", "a::b"], "x")
    listing = Listing("local", rows.table())

    assert with_local_images(listing, tmp_path / "cache") is listing
    nothing = Listing("nothing", RowWriter().table())
    assert with_local_images(nothing, tmp_path / "cache") is nothing


def test_an_image_that_does_not_exist_keeps_its_address(tmp_path: Path) -> None:
    with serve(make_photos(tmp_path / "served", {"a": 1})) as web:
        rows = RowWriter()
        rows.add(f"{web.address}/a", ["gone.png", "0.png"], "x")

        samples = with_local_images(Listing("remote", rows.table()), tmp_path / "cache").samples()

    assert os.path.exists(samples[1].path)  # noqa: PTH110 - a record's path is text
    with pytest.raises(BadImageError, match=rf"^cannot read {web.address}/a/gone\.png: no such file or directory$"):
        decode_image(samples[0].image)


def test_an_image_that_may_not_be_read_stops_it(tmp_path: Path) -> None:
    with serve(make_photos(tmp_path / "served", {"a": 1})) as web:
        web.failures["/a/0.png"] = [403] * 5
        rows = RowWriter()
        rows.add(f"{web.address}/a", ["0.png"], "x")

        with pytest.raises(DataError, match=r"0\.png: it may not be read"):
            with_local_images(Listing("remote", rows.table()), tmp_path / "cache")
