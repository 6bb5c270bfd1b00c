from __future__ import annotations

import base64
import io
import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image
from tests.helpers.page_data import make_example
from tests.helpers.run_folders import RunMaker

from classifier_training.pages.inline_images import LARGEST_BYTES, data_url, figure_url, inline_image


def test_an_image_becomes_a_data_url(tmp_path: Path) -> None:
    run = RunMaker(2, num_images=4, num_pictures=1).make(tmp_path)
    (path,) = run.scored("val").thumbnails.glob("?.jpg")

    address = data_url(path)

    assert address is not None
    kind, _, content = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(content) == path.read_bytes()


def test_only_small_jpeg_files_become_inline_images(tmp_path: Path) -> None:
    script, huge = tmp_path / "a.jpg", tmp_path / "b.jpg"
    script.write_bytes(b"<svg onload=alert(1)>")
    huge.write_bytes(b"\xff\xd8\xff" + bytes(LARGEST_BYTES))

    assert [data_url(path) for path in (None, script, huge, tmp_path / "gone.jpg", tmp_path)] == [None] * 5


def test_an_image_has_a_description() -> None:
    shown = inline_image(make_example(file="/photos/cats/1.jpg"), ("cat", "dog"))

    assert shown.file == "1.jpg"
    assert shown.path == "/photos/cats/1.jpg"
    assert (
        shown.text.replace("\N{NO-BREAK SPACE}", " ")
        == "1.jpg: cat, wrongly predicted as dog with a confidence of 90.0 %"
    )
    assert not shown.is_correct
    assert inline_image(make_example(predicted=0), ("cat", "dog")).is_correct


def test_a_figure_becomes_an_address_and_is_looked_at_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "train_batch.png"
    for time, colour in ((1, (200, 30, 60)), (2, (20, 180, 90))):
        Image.new("RGB", (64, 48), colour).save(path)
        os.utime(path, (time, time))

        address = figure_url(path)

        assert address is not None
        kind, _, content = address.partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            assert image.size == (64, 48)
            assert np.abs(np.asarray(image, dtype=int) - colour).max() < 8


def test_only_figures_become_inline_images(tmp_path: Path) -> None:
    script, huge, torn = (tmp_path / f"{name}.png" for name in ("script", "huge", "torn"))
    script.write_bytes(b"<svg onload=alert(1)>")
    Image.new("1", (5000, 5000)).save(huge)
    Image.effect_noise((64, 48), 50).save(torn)
    torn.write_bytes(torn.read_bytes()[:500])
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(torn.read_bytes()[:16] + struct.pack(">LL", 60_000, 60_000) + torn.read_bytes()[24:])
    (tmp_path / "short.png").write_bytes(b"\x89PNG")

    paths = (None, bomb, tmp_path / "short.png", script, huge, torn, tmp_path / "gone.png", tmp_path)
    assert [figure_url(path) for path in paths] == [None] * len(paths)
