"""Broken image files, by a seeded mutator."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from tests.helpers.images import jpeg_bytes, make_pixels


def sound_jpegs() -> list[bytes]:
    """Small JPEG files of the kinds that people have: baseline, progressive, grey, CMYK, with EXIF."""
    pixels = make_pixels(24, 16)
    files = [jpeg_bytes(pixels), jpeg_bytes(pixels, progressive=True)]
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode in ("L", "CMYK", "RGB"):
        file = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(file, "JPEG", exif=exif, quality=60)
        files.append(file.getvalue())
    return files


def mutants(number: int, seed: int = 0) -> Iterator[bytes]:
    """JPEG files with one to eight faults each: bytes flipped, cut out, put in or doubled, sizes changed, ends cut."""
    random = np.random.default_rng(seed)
    sound = sound_jpegs()
    for _ in range(number):
        content = bytearray(sound[random.integers(len(sound))])
        for _ in range(random.integers(1, 9)):
            at = int(random.integers(len(content))) if content else 0
            length = int(random.integers(1, 33))
            match random.integers(6):
                case 0 if content:
                    content[at] ^= 1 << int(random.integers(8))
                case 1:
                    content[at : at + length] = random.bytes(length)
                case 2:
                    del content[at : at + length]
                case 3:
                    content[at:at] = content[at : at + length]
                case 4:
                    del content[at + 2 :]
                case _:  # the height and width in the frame header
                    frame = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
                    if 0 <= frame < len(content) - 9:
                        content[frame + 5 : frame + 9] = random.bytes(4)
        yield bytes(content)


def other_broken_files() -> dict[str, bytes]:
    """Files that are broken otherwise, by what they are."""
    png, gif = io.BytesIO(), io.BytesIO()
    Image.fromarray(make_pixels()).save(png, "PNG")
    Image.fromarray(make_pixels()).save(gif, "GIF")
    jpeg = jpeg_bytes()
    return {
        "text": b"hello",
        "html": b"<!doctype html><p>404",
        "zeros": bytes(1000),
        "only a marker": b"\xff\xd8",
        "a cut JPEG": jpeg[: len(jpeg) // 2],
        "a cut PNG": png.getvalue()[:-100],
        "a cut GIF": gif.getvalue()[:40],
        "a bomb": _resized_png(png.getvalue(), 60_000, 60_000),
        "a PNG of no pixels": _resized_png(png.getvalue(), 0, 0),
        "a wrong header": b"\x89PNG\r\n\x1a\n" + jpeg,
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>',
    }


def _resized_png(content: bytes, width: int, height: int) -> bytes:
    """A PNG whose header names another size, with the right checksum."""
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
