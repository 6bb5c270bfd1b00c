"""Weights that timm has at an address of a release instead of the hub, as for a few older backbones."""

from __future__ import annotations

import urllib.request
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.error import HTTPError
from urllib.parse import urlsplit

import torch

from classifier_training.errors import first_line

_HASH_PREFIX: Final = torch.hub.HASH_REGEX


class ReleaseUnavailableError(Exception):
    """The address cannot be reached, or what came is not whole; the message says which. Never leaves `models`."""


def released_file(address: str) -> Path:
    """Where torch keeps the file of an address; it may not be there."""
    return Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(urlsplit(address).path).name)


def ask_release(address: str, seconds: float) -> int | None:
    """The size of a file at an address; None where the server does not state it."""
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - an address of timm's own list
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
            size = answer.headers.get("Content-Length")
    except HTTPError as error:
        raise ReleaseUnavailableError(f"{address} answered with status {error.code}") from None
    except OSError as error:
        raise ReleaseUnavailableError(f"{address}: {first_line(error)[:120]}") from None
    return int(size) if size and size.isdigit() else None


def download_release(address: str, size: int | None) -> Path:
    """Downloads a file to where torch keeps it; it appears there whole or not at all."""
    path = released_file(address)
    prefix = _HASH_PREFIX.search(path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(path), prefix[1] if prefix else None, progress=False)
    except (OSError, RuntimeError, EOFError) as error:  # torch raises a RuntimeError for a wrong hash
        raise ReleaseUnavailableError(f"{address}: {first_line(error)[:120]}") from None
    if size is not None and path.stat().st_size != size:
        path.unlink()
        raise ReleaseUnavailableError(f"{address}: the connection ended before the whole file had come")
    return path
