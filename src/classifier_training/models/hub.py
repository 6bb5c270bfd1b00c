"""Timm's pretrained weights: in the hub's cache on this disk, and at the hub, which is asked for five seconds."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import timm
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from timm.models import PretrainedCfg
from tqdm import tqdm

from classifier_training.errors import ModelError, first_line
from classifier_training.models.released_weights import (
    ReleaseUnavailableError,
    ask_release,
    download_release,
    released_file,
)
from classifier_training.types import Progress

HUB_TIMEOUT_SECONDS: Final = 5.0
MAX_RESTARTS: Final = 2
"""How often a download may begin again from its first byte, at a server that cannot send the rest alone."""

_SHA256_DIGITS: Final = 64
_NOTHING_KEPT: Final = "nothing of it was kept, the next start downloads it again"
T = TypeVar("T")


class HubUnavailableError(Exception):
    """The hub cannot be asked, or has no such file; the message says which. Never leaves `models`."""


class _BrokenDownloadError(Exception):
    """A download that has begun anew too often."""


class _Received(tqdm):  # type: ignore[misc]  # tqdm has no types
    """Passes on how much has come, and ends a download that a server keeps restarting.

    Attributes:
        target: A list whose only item gets the bytes that have come; the size of the whole file, 0 where it is unknown;
            what is called with the bytes and the size. Of each subclass, as the hub's client wants a class.
    """

    target: tuple[list[int], int, Progress]

    def __init__(self, *_: Any, **options: Any) -> None:
        super().__init__(disable=True)
        received, size, self.progress = self.target
        self.received, self.restarts = received, 0
        self.whole = size or options.get("total") or 0
        received[0] = options.get("initial") or 0

    def update(self, n: float | None = 1) -> bool | None:
        self.received[0] += int(n or 0)
        self.restarts += (n or 0) < 0
        if self.restarts > MAX_RESTARTS:
            raise _BrokenDownloadError("the connection ends again and again before the whole file has come")
        self.progress(self.received[0], max(self.whole, self.received[0]))
        return None


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of weights at the hub.

    Attributes:
        repo: The repository, ``timm/resnet18.a1_in1k``; for weights of a release, their address.
        filename: Its name there.
        revision: Of the repository; None: the latest.
        size: Its bytes; None where the hub does not state them.
        sha256: Its hash; None where the hub does not state it.
    """

    repo: str
    filename: str
    revision: str | None = None
    size: int | None = None
    sha256: str | None = None


def hub_config(name: str) -> PretrainedCfg | None:
    """Timm's description of a backbone's weights; None: it has none."""
    config = timm.models.get_pretrained_cfg(name)
    return config if config is not None and (config.hf_hub_id or config.url) else None


def cached_weights(config: PretrainedCfg) -> Path | None:
    """The file of weights in the hub's cache on this disk; None: it is not there. No network is used."""
    if not config.hf_hub_id:
        released = released_file(_release(config))
        return released if released.is_file() else None
    for file in _candidates(config):
        found = try_to_load_from_cache(file.repo, file.filename, constants.HF_HUB_CACHE, file.revision)
        if isinstance(found, str):
            return Path(found)
    return None


def ask_hub(config: PretrainedCfg) -> HubFile:
    """Asks the hub for the size and hash of a file of weights, without retries.

    Raises:
        HubUnavailableError: There is no network or none is to be used, the hub does not answer in time, or lacks it.
    """
    if constants.HF_HUB_OFFLINE:
        raise HubUnavailableError("HF_HUB_OFFLINE is set")
    return _in_time(lambda: _ask(config), HUB_TIMEOUT_SECONDS)


def download_weights(file: HubFile, progress: Progress) -> Path:
    """Downloads a file of weights into the hub's cache; nothing of a broken download stays.

    Args:
        file: From `ask_hub`.
        progress: Called with the bytes received and their total.

    Raises:
        ModelError: The download broke, or what came is not what the hub announced.
    """
    if "://" in file.repo:
        try:
            return download_release(file.repo, file.size)
        except ReleaseUnavailableError as error:
            raise ModelError(f"the download of {file.filename} broke off: {error}; {_NOTHING_KEPT}") from None
    received = [0]
    options: dict[str, Any] = {"etag_timeout": HUB_TIMEOUT_SECONDS}
    if "tqdm_class" in inspect.signature(hf_hub_download).parameters:
        options["tqdm_class"] = type("Received", (_Received,), {"target": (received, file.size or 0, progress)})
    try:
        with _quiet_hub():
            path = Path(
                hf_hub_download(
                    file.repo,
                    file.filename,
                    revision=file.revision,
                    cache_dir=constants.HF_HUB_CACHE,
                    **options,
                )
            )
    except Exception as error:  # the client raises many unrelated types
        raise ModelError(
            f"the download of {file.repo} ({file.filename}) broke off after {received[0]:,} of"
            f" {file.size or 0:,} bytes: {_reason(error)}; {_NOTHING_KEPT}"
        ) from None
    check_weights_file(path, file.sha256)
    return path


def check_weights_file(path: Path, sha256: str | None) -> str:
    """The SHA-256 of a file of weights; the file is removed from the cache where it is not the expected one.

    Raises:
        ModelError: It has another hash.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 is not None and found != sha256:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise ModelError(
            f"{path} was damaged on its way or on this disk (SHA-256 {found[:12]}… instead of {sha256[:12]}…) and has"
            " been removed; the next start downloads it again"
        )
    return found


def stored_sha256(path: Path) -> str | None:
    """The hash by which the hub's cache has stored a file; None: it does not know it."""
    name = path.resolve().name  # the snapshot links to a blob that is named by its hash
    return name if _is_sha256(name) else None


def _candidates(config: PretrainedCfg) -> list[HubFile]:
    """The files that timm would load, in its order."""
    repo, _, revision = str(config.hf_hub_id).partition("@")
    own = config.hf_hub_filename
    names = [str(own)] if own else ["model.safetensors", "pytorch_model.bin"]
    return [HubFile(repo, name, revision or None) for name in names]


def _release(config: PretrainedCfg) -> str:
    """The address of weights that are not at the hub."""
    return str(config.url[0] if isinstance(config.url, tuple) else config.url)


def _ask(config: PretrainedCfg) -> HubFile:
    if not config.hf_hub_id:
        try:
            size = ask_release(_release(config), HUB_TIMEOUT_SECONDS)
        except ReleaseUnavailableError as error:
            raise HubUnavailableError(str(error)) from None
        return HubFile(_release(config), released_file(_release(config)).name, None, size)
    files = _candidates(config)
    for file in files:
        try:
            with _quiet_hub():
                url = hf_hub_url(file.repo, file.filename, revision=file.revision)
                found = get_hf_file_metadata(url, timeout=HUB_TIMEOUT_SECONDS)
        except EntryNotFoundError:
            continue
        except Exception as error:  # the client raises many unrelated types
            raise HubUnavailableError(_reason(error)) from None
        sha256 = found.etag if found.etag and _is_sha256(found.etag) else None
        return HubFile(file.repo, file.filename, file.revision, found.size, sha256)
    raise HubUnavailableError(f"{constants.ENDPOINT} has no {files[0].filename} in {files[0].repo}")


def _reason(error: Exception) -> str:
    """Why the hub could not be used, in a few words."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"{constants.ENDPOINT} answered with status {status}"
    if isinstance(error, _BrokenDownloadError):
        return str(error)
    if "Timeout" in type(error).__name__:
        return f"{constants.ENDPOINT} did not answer within {HUB_TIMEOUT_SECONDS:g} seconds"
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    return f"{constants.ENDPOINT}: {type(cause).__name__}, {first_line(cause)[:120]}"


def _in_time(function: Callable[[], T], seconds: float) -> T:
    """Calls a function that may wait for the network, whose own time limits do not cover everything.

    The search for an address, and a server that sends a byte now and then, have no limit; the thread is then left
    behind, and the process does not wait for it.
    """
    outcome: list[T | Exception] = []

    def call() -> None:
        try:
            outcome.append(function())
        except Exception as error:  # raised again by the caller's thread
            outcome.append(error)

    thread = threading.Thread(target=call, daemon=True, name="asks the hub")
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise HubUnavailableError(f"{constants.ENDPOINT} did not answer within {seconds:g} seconds")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


@contextlib.contextmanager
def _quiet_hub() -> Iterator[None]:
    """Keeps the notices of the hub's client off the terminal, and the client from telling the hub who calls."""
    telemetry, constants.HF_HUB_DISABLE_TELEMETRY = constants.HF_HUB_DISABLE_TELEMETRY, True
    loggers = [logging.getLogger(name) for name in ("huggingface_hub", "timm")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _is_sha256(text: str) -> bool:
    return len(text) == _SHA256_DIGITS and set(text) <= set("0123456789abcdef")
