"""Images at addresses that are predicted: read into memory, one by one, from a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.images import make_image
from tests.helpers.web import serve

from classifier_training.data.sources.named_addresses import RemoteImage, images_at
from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import decode_image


def test_an_image_and_a_folder_of_them_are_read(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "more/c.png"):
        make_image(tmp_path / name)
    (tmp_path / "notes.txt").write_text("nothing")

    with serve(tmp_path) as web:
        (single,) = images_at(f"{web.address}/a.png")
        found = list(images_at(f"{web.address}/"))
        assert not web.gets["/a.png"]

        assert [str(image) for image in found] == [f"{web.address}/{name}" for name in ("a.png", "b.png", "more/c.png")]
        assert single.read() == (tmp_path / "a.png").read_bytes()
        assert (decode_image(found[2]) == decode_image(tmp_path / "more" / "c.png")).all()
        (missing,) = images_at(f"{web.address}/none.png")
        with pytest.raises(BadImageError, match=r"none\.png: cannot fetch it: it does not exist"):
            decode_image(missing)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in str(RemoteImage("https://user:secret@host/a.png"))


def test_a_folder_of_a_store_is_one_without_the_extension_of_an_image(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")

    assert [image.path for image in images_at(f"file://{tmp_path}")] == [f"file://{tmp_path}/a.png"]
    assert next(images_at(f"file://{tmp_path}/a.png")).read() == (tmp_path / "a.png").read_bytes()
