"""Heads of requests that are too long, or never end."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from uvicorn.server import ServerState

from classifier_training.serve.heads import MAX_HEAD_BYTES, BoundedHeads

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Long: "


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (HEAD + b"a" * (MAX_HEAD_BYTES - 1000) + b"\r\n\r\n", b"HTTP/1.1 200 OK"),
        (HEAD + b"a" * (MAX_HEAD_BYTES + 1000), b"HTTP/1.1 400 Bad Request"),
        (b"GET /" + b"a" * (MAX_HEAD_BYTES + 1000), b"HTTP/1.1 400 Bad Request"),
        (HEAD, b""),  # it is closed
        (b"", b""),
    ],
)
def test_heads_are_bounded(sent: bytes, answer: bytes) -> None:
    async def talk() -> bytes:
        config = uvicorn.Config(PlainTextResponse("hello"), timeout_keep_alive=1, log_level="critical", lifespan="off")
        config.load()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: BoundedHeads(config, ServerState(), {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(sent)
        found = await reader.read()
        writer.close()
        server.close()
        return found

    assert asyncio.run(talk()).partition(b"\r\n")[0] == answer
