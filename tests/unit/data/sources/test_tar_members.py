from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.shards import write_tar

from classifier_training.data.sources.tar_members import tar_members
from classifier_training.errors import DataError

BLOCK = 512


def members(path: Path) -> list[tuple[str, int, int]]:
    return [(member.name, member.offset, member.size) for member, _ in tar_members(str(path))]


def told_by_tarfile(path: Path) -> list[tuple[str, int, int]]:
    with tarfile.open(path) as tar:
        return [(info.name, info.offset_data, info.size) for info in tar if not info.isdir()]


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


NAMES = [
    "a.jpg",
    "b/c.jpg",
    "n" * 100,
    "x/" * 60 + "long.jpg",
    "é.jpg",
    "日本語/🐈.jpg",
    "n" * 300,
    " spaces .jpg",
    "./d.jpg",
]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mtime", [0, 1_700_000_000, 1_700_000_000.25])
def test_the_same_as_tarfile_for_every_format(tmp_path: Path, form: int, mtime: float) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=form) as tar:
        for number, name in enumerate(NAMES):
            if form == tarfile.USTAR_FORMAT and (len(name.encode()) > 255 or "/" not in name[100:]) and len(name) > 100:
                continue
            info = tarfile.TarInfo(name)
            info.mtime, info.size = mtime, number * 300
            tar.addfile(info, io.BytesIO(b"x" * info.size))
            tar.addfile(special(f"folder{number}", tarfile.DIRTYPE))

    assert members(path) == told_by_tarfile(path)
    assert len(members(path)) >= 6


def test_the_offset_is_where_the_bytes_are(tmp_path: Path) -> None:
    contents = {"a": b"one", "b": b"", "c": b"x" * 512, "d": b"y" * 513}
    path = write_tar(tmp_path / "x.tar", list(contents.items()), webdataset=True)

    whole = path.read_bytes()

    assert {name: whole[offset : offset + size] for name, offset, size in members(path)} == contents


def test_a_size_in_an_extended_header(tmp_path: Path) -> None:
    """As tar writes files of more than 8 GB."""
    content = b"x" * 700
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("big.jpg")
        info.size = len(content)
        info.pax_headers = {"size": str(len(content)), "mtime": "1.5"}
        tar.addfile(info, io.BytesIO(content))
        tar.addfile(tarfile.TarInfo("next.jpg"))

    assert members(path) == told_by_tarfile(path)


def test_a_size_in_base_256(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a", b"x" * 700), ("b", b"")])
    whole = bytearray(path.read_bytes())
    whole[124:136] = b"\x80" + (700).to_bytes(11, "big")
    _mend_sum(whole, 0)
    path.write_bytes(whole)

    assert members(path) == [("a", 512, 700), ("b", 2048, 0)]


def test_a_comment_for_all_members_as_git_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "0123"}) as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))

    assert [name for name, _, _ in members(path)] == ["a.jpg"]


def test_headers_that_move_all_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"path": "../../etc/passwd"}) as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))

    with pytest.raises(
        DataError, match=r"x\.tar is not a readable tar file: it does not begin like one \(a size or a name"
    ):
        members(path)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../up.jpg",
        "a/../../up.jpg",
        "a/..",
        "..",
        "\\server\\x.jpg",
        "a\\..\\..\\x.jpg",
        "C:\\x.jpg",
        "C:/x.jpg",
    ],
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    path = write_tar(tmp_path / "x.tar", [("good.jpg", b"1"), (name, b"2")])

    with pytest.raises(DataError, match="has a name that leads out of its folder; the shard is refused") as caught:
        members(path)

    assert str(caught.value).startswith(f"{path}: the member {name!a} ")


def test_a_name_that_leads_out_in_an_extended_header(tmp_path: Path) -> None:
    info = tarfile.TarInfo("harmless.jpg")
    info.pax_headers = {"path": "/root/.ssh/authorized_keys"}
    path = write_tar(tmp_path / "x.tar", [(info, b"key")])

    with pytest.raises(DataError, match=r"'/root/.ssh/authorized_keys' has a name that leads out"):
        members(path)


def test_a_folder_that_leads_out(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [(special("../up", tarfile.DIRTYPE), b"")])

    with pytest.raises(DataError, match=r"'\.\./up' has a name that leads out"):
        members(path)


@pytest.mark.parametrize(
    ("kind", "target", "messages"),
    [
        (tarfile.SYMTYPE, "/etc/passwd", "a link"),
        (tarfile.LNKTYPE, "good.jpg", "a link"),
        (tarfile.CHRTYPE, "", "no plain file"),
        (tarfile.BLKTYPE, "", "no plain file"),
        (tarfile.FIFOTYPE, "", "no plain file"),
        (b"V", "", "no plain file"),
    ],
)
def test_a_member_that_is_not_a_plain_file_is_refused(tmp_path: Path, kind: bytes, target: str, messages: str) -> None:
    path = write_tar(tmp_path / "x.tar", [("good.jpg", b"1"), (special("bad.jpg", kind, target), b"")])

    with pytest.raises(DataError, match=rf"x\.tar: the member 'bad.jpg' is {messages}; only plain files are read"):
        members(path)


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("bad.jpg")
    info.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1000"}
    path = write_tar(tmp_path / "x.tar", [(info, b"1")])

    with pytest.raises(DataError, match=r"the member 'bad\.jpg' is a sparse file"):
        members(path)


def test_a_header_that_pretends_to_be_large_fills_no_memory(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [(special("x", tarfile.XHDTYPE), b""), ("a.jpg", b"")])
    whole = bytearray(path.read_bytes())
    whole[124:136] = b"77777777777\0"
    _mend_sum(whole, 0)
    path.write_bytes(whole)

    with pytest.raises(DataError, match=r"is not a readable tar file: .*a header of 8589934592 bytes"):
        members(path)


def test_headers_of_headers_end(tmp_path: Path) -> None:
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    header[156:157] = tarfile.XHDTYPE
    _mend_sum(header, 0)
    path = tmp_path / "x.tar"
    path.write_bytes(bytes(header) * 5000 + bytes(1024))

    with pytest.raises(DataError, match=r"is not a readable tar file"):
        members(path)


@pytest.mark.parametrize(
    ("compress", "name"),
    [
        (gzip.compress, "gzip"),
        (bz2.compress, "bzip2"),
        (lzma.compress, "xz"),
        (lambda _: b"\x28\xb5\x2f\xfd123", "zstd"),
    ],
)
def test_compressed_shards_are_refused(tmp_path: Path, compress: Callable[[bytes], bytes], name: str) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.jpg", b"1")])
    path.write_bytes(compress(path.read_bytes()))

    with pytest.raises(DataError, match=rf"^{path} is compressed with {name}, so that no image in it can be read"):
        members(path)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "x.tar").touch()

    with pytest.raises(
        DataError, match=rf"^the shard {tmp_path}/x.tar is empty; write or copy it again, or remove it$"
    ):
        members(tmp_path / "x.tar")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^cannot read the shard {tmp_path}/x.tar: No such file or directory$"):
        members(tmp_path / "x.tar")


@pytest.mark.parametrize(
    "content", [b"<html>" * 200, b"\x89PNG" + bytes(3000), random.Random(0).randbytes(2000), b"short"]
)
def test_a_file_that_is_not_a_tar_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)

    with pytest.raises(
        DataError, match=r"x\.tar is (not a readable tar file: it does not begin like one|cut off)|shard .* is cut off"
    ) as caught:
        members(tmp_path / "x.tar")

    assert "\n" not in str(caught.value)


def test_a_shard_without_members(tmp_path: Path) -> None:
    assert members(write_tar(tmp_path / "x.tar", [])) == []


@pytest.mark.parametrize("webdataset", [False, True])
def test_a_shard_that_was_cut_off_anywhere_is_refused(tmp_path: Path, webdataset: bool) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.jpg", b"1" * 700), ("b.jpg", b"2" * 10)], webdataset=webdataset)
    whole = path.read_bytes()
    end = members(path)[-1][1] + BLOCK  # then come the zeros of the end

    for length in [*range(1, end, 173), end - 1, end]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"^the shard .* is cut off: .*; copy or write it again$"):
            members(path)

    path.write_bytes(whole[: end + BLOCK])
    assert len(members(path)) == 2


def test_damage_within_a_shard_is_found(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.jpg", b"1"), ("b.jpg", b"2")])
    whole = bytearray(path.read_bytes())
    whole[2 * BLOCK + 3] ^= 1
    path.write_bytes(whole)

    with pytest.raises(DataError, match=r"x\.tar is not a readable tar file: at byte 1024 it is damaged"):
        members(path)


def test_shards_that_were_joined_with_cat_are_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.jpg", b"1")])
    with tarfile.open(path) as tar:
        end = tar.offset
    one = path.read_bytes()[: end + 2 * BLOCK]
    path.write_bytes(one + one)

    with pytest.raises(DataError, match=r"x\.tar continues after its end: shards that were joined with cat"):
        members(path)


def test_noise_is_never_more_than_a_refusal(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.jpg", b"1" * 600), ("n" * 200, b"2")], webdataset=True)
    whole = path.read_bytes()
    dice = random.Random(0)

    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(dice.randint(1, 8)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            found = members(path)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most are refused, those that hit an image are not
        else:
            assert all(offset + size <= len(damaged) for _, offset, size in found)


def _mend_sum(whole: bytearray, start: int) -> None:
    """Makes the checksum of a header right again."""
    header = whole[start : start + BLOCK]
    header[148:156] = b" " * 8
    whole[start + 148 : start + 156] = b"%06o\0 " % sum(header)
