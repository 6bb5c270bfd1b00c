"""Retries what failed because of a connection, and reports in one line what still fails."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from classifier_training.data.cache.folder import is_cache_error
from classifier_training.data.sources.address import ROOT_VARIABLE
from classifier_training.data.sources.addresses_of_data import PrivateHostError
from classifier_training.errors import DataError, MissingFileError, first_line
from classifier_training.files.credentials import public_address, redacted

FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 30.0
_JITTER: Final = random.SystemRandom()  # a seeded generator would wait alike everywhere, and be moved by the waits
_PERMANENT_TLS: Final = {"CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER"}
_TEMPORARY_STATUS: Final = {408, 425, 429}
Result = TypeVar("Result")


def with_retries(
    action: Callable[[], Result],
    what: str,
    cache: Path | None,
    attempts: int,
    sleep: Callable[[float], None],
    *,
    address: str = "",
) -> Result:
    """Runs an action until it succeeds, with waits that double and differ between processes.

    Args:
        action: What to do.
        what: Begins the message: "cannot fetch s3://…".
        cache: Errors of this folder are raised at once; None: no folder is written.
        attempts: How often the action is tried at most.
        sleep: Waits so many seconds.
        address: What the action reads; what is secret in it is not in the message.

    Raises:
        MissingFileError: The file does not exist; this is not tried again.
        DataError: It failed for good.
        OSError: The cache folder cannot be written.
    """
    for attempt in range(1, attempts + 1):
        try:
            return action()
        except DataError:
            raise
        except Exception as error:
            if cache is not None and is_cache_error(error, cache):
                raise
            final = _final_error(_cause(error), what, address, tried=attempts if attempt == attempts else None)
            if final is not None:
                raise final from None
        # different processes must not come back at the same moment
        sleep(min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (attempt - 1)) * _JITTER.uniform(0.5, 1.0))
    raise ValueError(f"attempts={attempts} must be 1 or more")


def _final_error(cause: BaseException, what: str, address: str, *, tried: int | None) -> DataError | None:
    """What is raised for good; None: the action is tried again. ``tried``: how often it was, where that is enough."""
    if isinstance(cause, FileNotFoundError) or _status(cause) in {404, 410}:
        return MissingFileError(f"{what}: it does not exist")
    reason = _permanent_reason(cause)
    if reason is None and tried is not None:
        reason = f"{first_line(cause)} (tried {f'{tried} times' if tried > 1 else 'once'})"
    return None if reason is None else DataError(f"{what}: {redacted(reason, address)}")


def _cause(error: BaseException) -> BaseException:
    """What really happened: fsspec reports a web server that answers with an error as a missing file."""
    while isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _status(error: BaseException) -> object:
    """The status with which a web server or a store answered."""
    return getattr(error, "status", None) or getattr(error, "code", None)


def _permanent_reason(error: BaseException) -> str | None:
    """Why another attempt would fail too; None: it might not."""
    status = _status(error)
    private = next((one for one in _all_of(error) if isinstance(one, PrivateHostError)), None)
    if private is not None:
        return str(private)
    if type(error).__name__ in {"InvalidUrlRedirectClientError", "NonHttpUrlRedirectClientError"}:
        return f"it redirects to {public_address(str(error))}; only addresses of the web are followed"
    if isinstance(error, PermissionError) or status in {401, 403} or "Credential" in type(error).__name__:
        hint = f"; credentials are given in data.root or {ROOT_VARIABLE}" if status == 401 else ""
        return f"it may not be read ({first_line(error)}){hint}"
    if isinstance(error, IsADirectoryError | NotADirectoryError):
        return first_line(error)
    if isinstance(status, int) and 400 <= status < 500 and status not in _TEMPORARY_STATUS:
        return first_line(error)
    if isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError):  # aiohttp's InvalidURL is one
        is_url = "url" in f"{type(error).__name__} {error}".lower() or "port" in str(error).lower()
        return first_line(error) + ("; in a user or a password write / as %2F, and @ as %40" if is_url else "")
    if getattr(getattr(error, "os_error", error), "reason", None) in _PERMANENT_TLS:
        return first_line(error)
    return None


def _all_of(error: BaseException) -> Iterator[BaseException]:
    """An error, those that it holds, and those that it was raised from."""
    seen: set[int] = set()
    found = [error]
    while found:
        one = found.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            found += [other for other in (one.__cause__, one.__context__, *getattr(one, "exceptions", ())) if other]
