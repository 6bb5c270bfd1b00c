"""What stands before every endpoint: the key, the counts, and what a browser may do with the page."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from classifier_training.serve.errors import RequestRefusedError
from classifier_training.serve.metrics import Metrics

_Key = Annotated[str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False))]
_Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))]


def key_check(api_key: str | None) -> Callable[..., Awaitable[None]]:
    """A dependency that refuses requests without the key, in ``X-API-Key`` or as ``Authorization: Bearer``."""
    expected = (api_key or "").encode()

    async def check(key: _Key, bearer: _Bearer) -> None:
        given = (key if key is not None else "" if bearer is None else bearer.credentials).encode("utf-8", "replace")
        # digests have one length, so the time does not depend on that of the key either
        if not hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest()):
            raise RequestRefusedError(
                401, "the API key is missing or wrong; send it as X-API-Key", {"WWW-Authenticate": "Bearer"}
            )

    return check


def page_headers(page: bytes) -> dict[str, str]:
    """Headers that let the page run its own style and script, ask this server, and do nothing else."""
    hashes = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"
            for text in re.findall(rb"<%b>(.*?)</%b>" % (tag.encode(), tag.encode()), page, re.DOTALL)
        )
        for tag in ("style", "script")
    }
    return {
        "Content-Security-Policy": (
            f"default-src 'none'; style-src {hashes['style']}; script-src {hashes['script']}; connect-src 'self';"
            " img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Cache-Control": "no-cache",
    }


class Guard:
    """Counts requests and their time, and forbids browsers to guess what an answer is.

    Args:
        app: What answers.
        metrics: What is counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)
