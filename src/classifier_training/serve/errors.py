"""What a server answers to a request that it cannot or will not serve."""

from __future__ import annotations

from collections.abc import Mapping


class RequestRefusedError(Exception):
    """A request gets this status and one line; it is no fault of the server.

    Attributes:
        status: The HTTP status.
        message: What is wrong, and what is allowed.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def busy(reason: str, retry_after: int) -> RequestRefusedError:
    """A refusal (503) that says when to come again."""
    headers = {"Retry-After": str(retry_after)}
    return RequestRefusedError(503, f"busy: {reason}; try again in {retry_after} s", headers)
