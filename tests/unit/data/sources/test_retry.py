from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from classifier_training.data.sources.addresses_of_data import PrivateHostError
from classifier_training.data.sources.retry import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, with_retries
from classifier_training.errors import DataError


class Action:
    """Fails with each error once, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


class AnswerError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class NoCredentialsError(Exception):
    pass


def attempt(action: Action, attempts: int = 5, cache: Path | None = None) -> tuple[str, list[float]]:
    waits: list[float] = []
    return with_retries(action, "cannot fetch s3://b/x", cache, attempts, waits.append), waits


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("reset"),
        TimeoutError("slow"),
        AnswerError(503),
        AnswerError(429),
        AnswerError(408),
        OSError("3 of 9 bytes"),
    ],
)
def test_a_connection_that_fails_is_tried_again(error: Exception) -> None:
    action = Action(error, error)

    result, waits = attempt(action)

    assert result == "done"
    assert (action.calls, len(waits)) == (3, 2)


def test_waits_double_up_to_a_limit_and_differ() -> None:
    def waits() -> list[float]:
        return attempt(Action(*[TimeoutError()] * 9), attempts=10)[1]

    first, second = waits(), waits()

    for number, wait in enumerate(first):
        longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**number)
        assert longest / 2 <= wait <= longest
    assert first != second


def test_waits_move_no_seeded_generator() -> None:
    random.seed(1)
    state = random.getstate()

    attempt(Action(TimeoutError()))

    assert random.getstate() == state


def test_at_last_it_is_one_line() -> None:
    action = Action(*[ConnectionResetError("reset by peer\nand more")] * 9)

    with pytest.raises(DataError, match=r"^cannot fetch s3://b/x: reset by peer \(tried 3 times\)$"):
        attempt(action, attempts=3)

    assert action.calls == 3


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError("s3://b/x"), "it does not exist"),
        (AnswerError(404), "it does not exist"),
        (PermissionError("Forbidden"), r"it may not be read \(Forbidden\)"),
        (AnswerError(403), r"it may not be read \(status 403\)"),
        (NoCredentialsError("Unable to locate credentials"), r"it may not be read \(Unable to locate credentials\)"),
        (IsADirectoryError("it is a folder"), "it is a folder"),
        (AnswerError(400), "status 400"),
        (ValueError("Invalid URL: port"), "Invalid URL: port; in a user or a password write / as %2F, and @ as %40"),
        (ValueError("no such option"), "no such option"),
        (ExceptionGroup("all failed", [OSError("x"), PrivateHostError("it is private")]), "it is private"),
    ],
)
def test_what_would_fail_again_is_not_tried_again(error: Exception, message: str) -> None:
    action = Action(error)

    with pytest.raises(DataError, match=rf"^cannot fetch s3://b/x: {message}$"):
        attempt(action)

    assert action.calls == 1


def test_the_cause_counts() -> None:
    """fsspec reports a web server that answers 503 as a file that is not there."""
    hidden = FileNotFoundError("http://host/x")
    hidden.__cause__ = AnswerError(503)

    assert attempt(Action(hidden))[0] == "done"


def test_our_own_errors_and_the_caches_pass() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        attempt(Action(full), cache=Path("/cache"))
    with pytest.raises(DataError, match=r"^install s3fs$"):
        attempt(Action(DataError("install s3fs")))
