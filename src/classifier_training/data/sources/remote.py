"""Files at an address: listed, and fetched once into the cache, over any file system that fsspec knows.

A copy's time of change is computed from the version that the file system reports (ETag, checksum, time). So a copy
that is out of date is known by its own size and time, and one that was removed and fetched again looks the same.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from classifier_training.data.cache.folder import one_at_a_time, writing_to
from classifier_training.data.cache.live import note_use
from classifier_training.data.sources.address import WEB, file_name, is_remote, join, plain_scheme, shown, without_query
from classifier_training.data.sources.addresses_of_data import guarded_sockets, web_origins
from classifier_training.data.sources.retry import with_retries
from classifier_training.errors import DataError, MissingFileError, first_line
from classifier_training.files.atomic import atomic_path
from classifier_training.files.credentials import identity, public_address, redacted
from classifier_training.files.hidden import is_skipped
from classifier_training.types import refuse_special

Sleep = Callable[[float], None]

ATTEMPTS: Final = 5
_VERSION_KEYS: Final = (
    "ETag", "etag", "md5Hash", "Content-MD5", "content_settings", "sha256", "generation", "version_id",
    "LastModified", "Last-Modified", "last_modified", "mtime", "modified", "created",
)  # fmt: skip
_SECONDS_OF_VERSIONS: Final = 2**29  # long past: a time to come would look like a change to come
_CONNECT_SECONDS: Final = 30
_SILENCE_SECONDS: Final = 60


class Entries(NamedTuple):
    """What lies directly in a folder: paths or addresses, hidden ones left out, in lexicographic order."""

    files: list[str]
    folders: list[str]


def fetch(
    address: str,
    cache: Path,
    *,
    revalidate: bool = False,
    named_by: str | None = None,
    opened_by: str = "",
    attempts: int = ATTEMPTS,
    sleep: Sleep = time.sleep,
) -> Path:
    """Gives a local copy of a remote file; what is local already is not copied.

    A copy appears whole or not at all, and its size is what the file system promised. Of several processes that want
    the same file, one fetches it and the others wait.

    Args:
        address: Where the file is; a path is returned as it is.
        cache: The cache folder; copies lie in ``remote/`` below it.
        revalidate: Check whether an existing copy is still the current version.
        named_by: The data set that names the file, and leads to no private host but its own; None: the address itself.
        opened_by: The query of the folder that the file is in, which is no part of its identity.
        attempts: How often a connection that fails is tried.
        sleep: Waits between attempts, seconds.

    Raises:
        DataError: The file does not exist, may not be read or cannot be reached, or the cache cannot be written.
    """
    if not is_remote(address):
        return _plain_file(address)
    address = plain_scheme(address)
    scheme, _, path = address.partition("://")
    if scheme.lower() in {"file", "local"} and "::" not in address:
        return _plain_file(path)
    copy = copy_path(address, cache, opened_by)
    if revalidate or not copy.is_file():
        what = f"cannot fetch {shown(address)}"
        tried = functools.partial(with_retries, what=what, cache=cache, attempts=attempts, sleep=sleep, address=address)
        _bring_up_to_date(copy, address, cache, named_by, tried)
    note_use(copy.parent, cache)
    return copy


def _bring_up_to_date(
    copy: Path, address: str, cache: Path, named_by: str | None, tried: Callable[[Callable[[], Any]], Any]
) -> None:
    version = tried(lambda: _version(address, named_by))
    if not version.is_of(copy):
        with writing_to(cache), one_at_a_time(copy):
            if not version.is_of(copy):  # another process may have been first
                tried(lambda: _download(address, copy, version, named_by))


def _plain_file(path: str) -> Path:
    """A file of this machine; one that is missing is reported by whoever reads it."""
    try:
        refuse_special(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pass
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    return Path(path)


def exists(address: str, named_by: str | None = None) -> bool:
    """Whether there is a file at an address.

    Raises:
        DataError: It may not be read, or cannot be reached.
    """
    try:
        what = f"cannot fetch {shown(address)}"
        with_retries(lambda: _version(address, named_by), what, None, ATTEMPTS, time.sleep, address=address)
    except MissingFileError:
        return False
    return True


def current_copies(folder: str, names: Sequence[str], cache: Path, opened_by: str = "") -> set[str]:
    """The files of a folder of a store whose copies are of the versions that one listing of the folder gives.

    A file that is not among them may be current, too: it has to be asked for itself. Pages of the web give no versions.
    ``opened_by`` is as of `fetch`.
    """
    if plain_scheme(folder).startswith(WEB):
        return set()
    try:
        system, path = _open(folder)
        infos = {info["name"].rstrip("/").rpartition("/")[2]: info for info in system.ls(path, detail=True)}
    except Exception:
        return set()
    found = set()
    for name in names:
        copy, info = copy_path(join(folder, name), cache, opened_by), infos.get(name)
        # some drivers give times as numbers in one place and as dates in the other
        if info is not None and any(_version_of(one).is_of(copy) for one in (info, _with_dates(info))):
            found.add(name)
    return found


def _with_dates(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: datetime.fromtimestamp(value, UTC) if key in _VERSION_KEYS and isinstance(value, float) else value
        for key, value in info.items()
    }


def copy_path(address: str, cache: Path, opened_by: str = "") -> Path:
    """Where the local copy of an address is, whether or not it has been fetched; arguments as of `fetch`."""
    bare, query = without_query(address)
    address = bare if query and query == opened_by else address
    # a new signature is no new file
    digest = hashlib.blake2b(
        identity(plain_scheme(address)).encode("utf-8", "surrogatepass"), digest_size=16
    ).hexdigest()
    # a name from elsewhere may be too long, or one that this system does not allow
    name = re.sub(r"[^A-Za-z0-9._-]", "_", file_name(public_address(address)))[-100:].lstrip(".")
    return cache / "remote" / digest / (name or "file")


def list_folder(
    address: str, *, attempts: int = ATTEMPTS, sleep: Sleep = time.sleep, skipped: set[str] | None = None
) -> Entries:
    """What lies directly in a folder at an address, or in a local one; ``skipped`` takes what is not visible.

    Raises:
        DataError: The folder does not exist, may not be read or cannot be reached.
    """
    what = f"cannot list {shown(address)}"
    found = with_retries(lambda: _listed(address), what, None, attempts, sleep, address=address)
    entries: dict[str, list[str]] = {"file": [], "directory": []}
    for kind, name in found:
        if "::" in name:
            raise DataError(f"{shown(address)} holds {name!r}: a name with '::' in it cannot be read; rename it")
        plain = file_name(join(address, name)) if name else ""
        if skipped is not None and is_skipped(plain):
            skipped.add(f"{address}/{plain}")
        if kind in entries and name and not is_skipped(plain) and not name.startswith((".", "?")):
            entries[kind].append(join(address, name))
    # by the displayed names, so that the order is that of the same folder on a disk
    return Entries(sorted(entries["file"], key=file_name), sorted(entries["directory"], key=file_name))


def list_remote(address: str, *, attempts: int = ATTEMPTS, sleep: Sleep = time.sleep) -> list[str]:
    """The addresses of all files below a folder, hidden ones left out, in a stable order.

    Raises:
        DataError: As `list_folder`.
    """
    entries = list_folder(address, attempts=attempts, sleep=sleep)
    below = [file for folder in entries.folders for file in list_remote(folder, attempts=attempts, sleep=sleep)]
    return entries.files + below


@dataclass(frozen=True, slots=True)
class _Version:
    """Which version of a file lies at an address: its size, where it is known, and a time that stands for the rest."""

    size: int | None
    time_ns: int

    def is_of(self, copy: Path) -> bool:
        try:
            status = copy.stat()
        except OSError:
            return False
        return status.st_mtime_ns == self.time_ns and self.size in {None, status.st_size}


def _version(address: str, named_by: str | None = None) -> _Version:
    system, path = _open(address, named_by)
    info = system.info(path)
    if info["type"] == "directory":
        raise IsADirectoryError("it is a folder")
    return _version_of(info)


def _version_of(info: Mapping[str, Any]) -> _Version:
    described = "\n".join(f"{key}={info[key]}" for key in _VERSION_KEYS if info.get(key))
    number = int.from_bytes(hashlib.blake2b(described.encode(), digest_size=8).digest(), "big")
    # whole, even seconds, which every file system can keep
    return _Version(info.get("size"), number % _SECONDS_OF_VERSIONS // 2 * 2 * 10**9)


def _download(address: str, copy: Path, version: _Version, named_by: str | None) -> None:
    system, path = _open(address, named_by)
    with atomic_path(copy) as temporary:
        system.get_file(path, str(temporary))
        size = temporary.stat().st_size
        if version.size is not None and size != version.size:
            raise OSError(f"{size} of {version.size} bytes came")
        os.utime(temporary, ns=(version.time_ns, version.time_ns))


def read_bytes(address: str) -> bytes:
    """The bytes of a file at an address, whose copy is kept nowhere; fails with the errors of its file system."""
    system, path = _open(address)
    return bytes(system.cat_file(path))


def _listed(address: str) -> list[tuple[str, str]]:
    """Kind and name of everything that lies directly in a folder."""
    # a query is given apart, as the addresses of what is in the folder are made from that of the folder
    bare, query = without_query(address)
    system, path = _open(bare, query=query)
    folder = path.rstrip("/")
    # of a web server's folder, the page with a slash at its end is the list
    is_web = bare.startswith(WEB)
    entries = system.ls(f"{folder}/" if is_web else path, detail=True)
    found = [(info["type"], *info["name"].rstrip("/").rpartition("/")) for info in entries]
    # stores list the folder itself as an empty file; pages hold links to elsewhere
    direct = [(kind, name) for kind, parent, _, name in found if f"{parent}/{name}".strip("/") != folder.strip("/")]
    return [(kind, name) for kind, parent, _, name in found if parent == folder] if is_web else direct


def _open(address: str, named_by: str | None = None, *, query: str = "") -> tuple[Any, str]:
    """The file system, and the path in it; the listing of an earlier call is not used again."""
    from fsspec.core import url_to_fs

    address = plain_scheme(address)
    options: dict[str, Any] = {"use_listings_cache": False}
    try:
        options |= {scheme: _web_options(origin, named_by) for scheme, origin in web_origins(address).items()}
        if query and address.startswith(WEB):
            options["params"] = query
        return url_to_fs(address, **options)  # type: ignore[no-any-return]
    except ImportError as error:
        raise DataError(_driver_advice(address, error)) from None
    except ValueError as error:
        reason = redacted(first_line(error), address)
        raise DataError(f"{shown(address)} is not an address that can be read: {reason}") from None


def _web_options(origin: str, named_by: str | None) -> dict[str, Any]:
    from aiohttp import ClientTimeout

    # a large file may take hours, but not without a byte
    limit = ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
    # one client for a host, not one for each of its files
    return {
        "client_kwargs": {"timeout": limit},
        "get_client": functools.partial(_guarded_client, origin if named_by is None else named_by),
    }


async def _guarded_client(own: str, **options: Any) -> Any:
    """A web client that connects to no private host but the one given, whatever a name or a redirect leads to."""
    from aiohttp import ClientSession, TCPConnector

    options.pop("loop", None)
    return ClientSession(connector=TCPConnector(socket_factory=guarded_sockets(own)), **options)


def _driver_advice(address: str, error: ImportError) -> str:
    from fsspec.registry import known_implementations

    scheme = address.partition("://")[0]
    module = known_implementations[scheme]["class"].partition(".")[0] if scheme in known_implementations else ""
    advice = (
        f"install it: pip install {module}" if module and module != "fsspec" else redacted(first_line(error), address)
    )
    return f"{shown(address)} needs a package that is not installed; {advice}"
