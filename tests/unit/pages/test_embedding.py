from __future__ import annotations

import base64
from pathlib import Path

from tests.helpers.page_data import make_picture
from tests.helpers.run_folders import RunMaker

from classifier_training.pages.embedding import LARGEST_BYTES, data_address, shown_picture


def test_a_picture_becomes_an_address(tmp_path: Path) -> None:
    run = RunMaker(2, num_images=4, num_pictures=1).make(tmp_path)
    (path,) = run.scored("val").thumbnails.glob("?.jpg")

    address = data_address(path)

    assert address is not None
    kind, _, content = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(content) == path.read_bytes()


def test_what_is_no_small_jpeg_file_is_not_embedded(tmp_path: Path) -> None:
    script, huge = tmp_path / "a.jpg", tmp_path / "b.jpg"
    script.write_bytes(b"<svg onload=alert(1)>")
    huge.write_bytes(b"\xff\xd8\xff" + bytes(LARGEST_BYTES))

    assert [data_address(path) for path in (None, script, huge, tmp_path / "gone.jpg", tmp_path)] == [None] * 5


def test_a_picture_is_told_in_words() -> None:
    shown = shown_picture(make_picture(file="/photos/cats/1.jpg"), ("cat", "dog"))

    assert shown.file == "1.jpg"
    assert shown.path == "/photos/cats/1.jpg"
    assert shown.text.replace("\N{NO-BREAK SPACE}", " ") == "1.jpg: cat, wrongly taken for dog with 90.0 %"
    assert not shown.is_right
    assert shown_picture(make_picture(predicted=0), ("cat", "dog")).is_right
