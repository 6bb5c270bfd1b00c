"""Addresses such as ``s3://bucket/photos/cat.jpg``: what they are made of, as text."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from classifier_training.errors import DataError
from classifier_training.files.credentials import has_lost_credentials, public_address
from classifier_training.files.text import did_you_mean, exists, special_kind

ROOT_VARIABLE: Final = "CLASSIFIER_TRAINING_DATA_ROOT"
"""The environment variable with the whole address of photos, whose credentials are recorded nowhere."""
WEB: Final = ("http://", "https://")
# Wrappers such as `simplecache::`, the scheme, the path, and the file that holds all of it: `zip://a.jpg::s3://b/c.zip`.
_ADDRESS: Final = re.compile(
    r"(?P<scheme>(?:[a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://)(?P<path>.*?)(?P<holder>::.*)?", re.I | re.S
)

_SCHEMES: Final = re.compile(r"(?:(?<=^)|(?<=::))[a-z][a-z0-9+.-]+(?=::|://)", re.I)


def is_remote(address: str) -> bool:
    """Whether a text is an address such as ``s3://bucket/photos``, and not a path of this machine."""
    return _ADDRESS.fullmatch(address) is not None


def plain_scheme(location: str) -> str:
    """An address whose schemes are in lower case, as ``HTTPS://`` and ``https://`` are one; a path as it is."""
    return _SCHEMES.sub(lambda found: found[0].lower(), location) if is_remote(location) else location


def is_pattern(root: str) -> bool:
    """Whether a root such as ``train-{000..009}.tar`` stands for several files: nothing has that very name."""
    return re.search(r"\{[^{}]*\}", root) is not None and (is_remote(root) or not exists(root))


def why_no_photos(root: str) -> str | None:
    """The message where a root is neither an address nor a folder or file; None: it may be photos."""
    # Path.expanduser fails on an unknown ~user
    path = os.path.expanduser(root)  # noqa: PTH111
    if is_remote(root) or is_pattern(path):
        return None
    special = special_kind(path)
    if special is not None:
        return f"cannot read {root}: {special}; name a folder of photos or a table file"
    if exists(path):
        return None
    return f"there is no folder {root}; name a folder of photos or a table file{did_you_mean(root)}"


def absolute_root(root: str | os.PathLike[str]) -> str:
    """A root that holds from any working directory: an absolute path, or the address that it is."""
    text = os.fspath(root)
    return plain_scheme(text) if is_remote(text) else str(Path(text).expanduser().resolve())


def join(location: str, name: str) -> str:
    """The address of ``name`` in the folder at an address; a web folder's query opens what is in it too."""
    scheme, path, holder = _parts(location)
    path, query = _query(scheme, path)
    return f"{scheme}{path.rstrip('/')}/{name}{'' if '?' in name and scheme in WEB else query}{holder}"


def split_address(address: str) -> tuple[str, str]:
    """The address of the folder, and the name that `join` adds to it again."""
    scheme, path, holder = _parts(address)
    path, query = _query(scheme, path)
    folder, _, name = path.rpartition("/")
    return f"{scheme}{folder}{holder}", name + query


def resolve(folder: str, path: str) -> str:
    """The address of a path that is relative to the folder at an address, or is an address itself."""
    if is_remote(path):
        return plain_scheme(path)
    scheme, location, holder = _parts(folder)
    if scheme in WEB:
        path = quote(path)  # it is the name of a file: a # or ? in it means nothing
    host, _, below = location.partition("/")
    full = posixpath.normpath(posixpath.join("/", below, path))  # it cannot leave the host or bucket
    return f"{scheme}{host}{full}{holder}"


def file_name(address: str) -> str:
    """The name of a file at an address, human-readable."""
    scheme, path, _ = _parts(address)
    path, _ = _query(scheme, path)
    name = path.rstrip("/").rpartition("/")[2]
    return unquote(name) if scheme in WEB else name


def without_query(address: str) -> tuple[str, str]:
    """A web address without its query and fragment, and the query; any other address as it is."""
    scheme, path, holder = _parts(address)
    path, query = _query(scheme, path)
    return f"{scheme}{path}{holder}", query.removeprefix("?")


def shown(address: str) -> str:
    """An address for a message: without the password or the signature that it may hold."""
    return public_address(address)


def readable_root(root: str) -> str:
    """A root with the credentials that a run does not record: those of `ROOT_VARIABLE`, if it is the same address.

    Raises:
        DataError: It was recorded without credentials, and they are not given again.
    """
    root, given = plain_scheme(root), plain_scheme(os.environ.get(ROOT_VARIABLE, ""))
    if is_remote(root) and given and public_address(given) == root:
        return given
    if has_lost_credentials(root):
        raise DataError(
            f"data.root={root} was recorded without its credentials; give the whole address again with"
            f" data.root=ADDRESS, or in the environment variable {ROOT_VARIABLE}"
        )
    return root


def _query(scheme: str, path: str) -> tuple[str, str]:
    """A path and the query of a web address, whose fragment no server sees."""
    if scheme not in WEB:
        return path, ""
    path, mark, query = path.partition("#")[0].partition("?")
    return path, mark + query


def _parts(address: str) -> tuple[str, str, str]:
    found = _ADDRESS.fullmatch(plain_scheme(address))
    if found is None:
        raise ValueError(f"{address!r} is not an address")
    return found["scheme"], found["path"], found["holder"] or ""
