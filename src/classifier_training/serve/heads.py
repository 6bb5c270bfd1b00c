"""Bounds the head of a request in bytes and in time, which uvicorn leaves to a proxy."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of the address and the headers of a request; the piece of data in which a head ends does not count."""


class BoundedHeads(HttpToolsProtocol):
    """A connection that is closed where a head is too long, or has not come within the time of keeping alive."""

    _num_bytes = 0
    _is_in_head = False
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Waits for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what a head takes."""
        super().data_received(data)
        if self._is_in_head and not self.transport.is_closing():
            self._num_bytes += len(data)
            if self._num_bytes > MAX_HEAD_BYTES:
                self.send_400_response(f"The head of the request is larger than {MAX_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._is_in_head, self._num_bytes = True, 0
        self._wait()

    def on_headers_complete(self) -> None:
        """It has ended."""
        self._is_in_head = False
        self._wait_no_more()
        super().on_headers_complete()

    def _wait(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(self.timeout_keep_alive, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
