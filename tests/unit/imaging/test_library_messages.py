from __future__ import annotations

import contextlib
import io
import logging
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.library_messages import num_messages


def damaged_tiff(mode: str = "1", compression: str = "group4") -> bytes:
    file = io.BytesIO()
    Image.effect_noise((60, 40), 90).convert(mode).save(file, "TIFF", compression=compression)
    content = bytearray(file.getvalue())
    content[20:60] = b"\xff" * 40
    return bytes(content)


def read(content: bytes) -> None:
    with contextlib.suppress(BadImageError):  # libtiff repairs some, and complains all the same
        decode_image(content)


@pytest.mark.parametrize(("mode", "compression"), [("1", "group4"), ("L", "tiff_lzw"), ("RGB", "jpeg")])
def test_what_libtiff_writes_does_not_reach_the_terminal(
    capfd: pytest.CaptureFixture[str], mode: str, compression: str
) -> None:
    before, content = num_messages(), damaged_tiff(mode, compression)
    capfd.readouterr()

    read(content)

    assert capfd.readouterr() == ("", "")
    assert num_messages() > before


def test_what_other_threads_write_meanwhile_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    content = damaged_tiff()
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(read, content) for _ in range(40)]
        for number in range(40):
            os.write(2, b"line %d\n" % number)
        for job in jobs:
            job.result()

    assert capfd.readouterr().err.splitlines() == [f"line {number}" for number in range(40)]


def test_messages_of_pillow_are_counted_and_its_logger_is_given_back() -> None:
    before, logger = num_messages(), logging.getLogger("PIL.TiffImagePlugin")
    handlers = list(logging.getLogger("PIL").handlers)
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "TIFF")
    content = file.getvalue().replace(
        b"\x15\x01\x03\x00\x01\x00\x00\x00\x03\x00", b"\x15\x01\x03\x00\x01\x00\x00\x00\xff\x4e"
    )

    read(content)

    assert num_messages() > before
    assert logging.getLogger("PIL").handlers == handlers
    assert logger.handlers == []
