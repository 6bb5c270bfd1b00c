"""Names, offsets and sizes of the members of a tar file, from their headers alone.

Nothing is ever unpacked. Plain headers, and those that only add a time (which is how WebDataset's writer marks every
member), are read here, several times faster than `tarfile` reads them; everything else is left to `tarfile`.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from classifier_training.errors import DataError, first_line

_BLOCK: Final = 512
_FILE_TYPES: Final = (b"0", b"\0")
_END_BYTES: Final = 20 * _BLOCK  # what tar fills up with zeros
_MAX_HEADER_BYTES: Final = 2**20
_IGNORED_KEYS: Final = {"mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment"}
"""Keys of an extended header that do not decide what or where a member is."""
_COMPRESSED: Final = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}


@dataclass(frozen=True, slots=True)
class Member:
    """One file in a tar file.

    Attributes:
        name: Its name, a relative path that leads nowhere else.
        offset: Where its bytes begin, counted from the beginning of the tar file.
        size: How many there are.
    """

    name: str
    offset: int
    size: int


def tar_members(path: str) -> Iterator[tuple[Member, IO[bytes]]]:
    """Yields the files in a tar file, in their order; folders are left out.

    Args:
        path: The tar file, not compressed.

    Yields:
        A member, and the open tar file, which may be moved in.

    Raises:
        DataError: The file is missing, empty, compressed, not a tar file or cut off; or a member is not a file, is a
            link, or has a name that leads out of the folder it would be unpacked in.
    """
    try:
        with Path(path).open("rb") as file:
            size = _checked_size(path, file)
            for member in _members(path, file):
                _refuse_tricks(path, member.name)
                if member.offset + member.size > size:
                    raise _cut_off(path, f"the member {member.name} is not whole")
                yield member, file
    except OSError as error:
        raise DataError(f"cannot read the shard {path}: {error.strerror or error}") from None


def _members(path: str, file: IO[bytes]) -> Iterator[Member]:
    position = 0
    others = _OtherMembers(path, file)
    while True:
        found = _plain_member(file, position)
        if found is None:
            header = _read(file, position, _BLOCK)
            if len(header) < _BLOCK:
                raise _cut_off(path, "the mark of its end is missing")
            if not any(header):
                if any(_read(file, position, _END_BYTES)):
                    raise DataError(
                        f"{path} continues after its end: shards that were joined with cat hide all but the first;"
                        " keep them apart"
                    )
                return
            found = others.at(position)
        member, position = found
        if member is not None:
            yield member


def _plain_member(file: IO[bytes], position: int) -> tuple[Member | None, int] | None:
    """The member whose headers begin at ``position`` and where the next ones do; None: `tarfile` must read it."""
    header = _read(file, position, _BLOCK)
    if len(header) < _BLOCK or not _has_valid_checksum(header):
        return None
    kind, size = header[156:157], _octal(header[124:136])
    if kind == b"x" and size is not None and size <= _MAX_HEADER_BYTES:
        records = _read(file, position + _BLOCK, size)
        if not _has_known_keys_only(records):
            return None
        position += _BLOCK + _padded(size)
        header = _read(file, position, _BLOCK)
        if len(header) < _BLOCK or not _has_valid_checksum(header):
            return None
        kind, size = header[156:157], _octal(header[124:136])
    # a slash at the end makes a folder of a file in old archives
    name = header[:100].partition(b"\0")[0]
    if kind not in _FILE_TYPES or size is None or not name or name.endswith(b"/"):
        return None
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    try:
        text = (prefix + b"/" + name if prefix else name).decode()
    except UnicodeDecodeError:
        return None
    start = position + _BLOCK
    return Member(text, start, size), start + _padded(size)


class _OtherMembers:
    """Reads headers of every kind, with `tarfile`."""

    def __init__(self, path: str, file: IO[bytes]) -> None:
        self._path = path
        self._file = _ShortReads(file)
        self._tar: tarfile.TarFile | None = None

    def at(self, position: int) -> tuple[Member | None, int]:
        """The member whose headers begin at ``position``, None for a folder, and where the next ones begin."""
        info, end = self._info(position)
        if info.isdir():
            _refuse_tricks(self._path, info.name)
            return None, end
        if info.issparse() or not info.isreg():
            kind = "a link" if info.islnk() or info.issym() else "a sparse file" if info.issparse() else "no plain file"
            raise DataError(
                f"{self._path}: the member {info.name!a} is {kind}; only plain files are read, pack it again"
            )
        return Member(info.name, info.offset_data, info.size), end

    def _info(self, position: int) -> tuple[tarfile.TarInfo, int]:
        try:
            self._file.seek(position)
            if self._tar is None:
                self._tar = tarfile.TarFile(fileobj=self._file)  # type: ignore[arg-type]  # it reads only
                self._file.seek(position)
            info = self._tar.tarinfo.fromtarfile(self._tar)
            end = self._tar.offset
            if end <= position or info.size < 0 or not self._tar.pax_headers.keys() <= _IGNORED_KEYS:
                raise tarfile.HeaderError("a size or a name that cannot be")
        except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            if str(error) in {"truncated header", "empty header"}:
                raise _cut_off(self._path, "its last header is not whole") from None
            where = f"at byte {position} it is damaged" if position else "it does not begin like one"
            raise DataError(f"{self._path} is not a readable tar file: {where} ({first_line(error)})") from None
        return info, end


class _ShortReads:
    """The part of a file that `tarfile` uses; a header that pretends to be large must not fill the memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek = file.seek
        self.tell = file.tell
        self._file = file

    def read(self, size: int) -> bytes:
        if size > _MAX_HEADER_BYTES:
            raise tarfile.HeaderError(f"a header of {size} bytes")
        return self._file.read(size)


def _checked_size(path: str, file: IO[bytes]) -> int:
    size = os.fstat(file.fileno()).st_size
    start = file.read(_BLOCK)
    if not start:
        raise DataError(f"the shard {path} is empty; write or copy it again, or remove it")
    for magic, (name, program) in _COMPRESSED.items():
        if start.startswith(magic):
            raise DataError(
                f"{path} is compressed with {name}, so that no image in it can be read on its own; run {program} on it"
            )
    return size


def _refuse_tricks(path: str, name: str) -> None:
    """Nothing is written under these names, but whoever unpacks such a file is attacked; it is not to be trusted."""
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or name[1:3] in {":\\", ":/"}:
        raise DataError(f"{path}: the member {name!a} has a name that leads out of its folder; the shard is refused")


def _cut_off(path: str, reason: str) -> DataError:
    return DataError(f"the shard {path} is cut off: {reason}; copy or write it again")


def _read(file: IO[bytes], position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _has_valid_checksum(header: bytes) -> bool:
    return _octal(header[148:156]) == sum(header) - sum(header[148:156]) + 8 * 0x20


def _octal(field: bytes) -> int | None:
    """A number of a header; None where it is written in another way than with octal digits."""
    digits = field.strip(b"\0 ")
    return int(digits, 8) if digits.isdigit() and b"8" not in digits and b"9" not in digits else None


def _has_known_keys_only(records: bytes) -> bool:
    """Whether an extended header has ignored keys only."""
    rest = records.rstrip(b"\0")
    while rest:
        length, _, _ = rest.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(rest):
            return False
        key = rest[len(length) + 1 : int(length)].partition(b"=")[0]
        if key.decode("latin-1") not in _IGNORED_KEYS:
            return False
        rest = rest[int(length) :]
    return True


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
