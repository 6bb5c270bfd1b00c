"""A real server in a thread that answers as the hub of pretrained weights does, or fails in one of its ways."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub import constants

BACKBONE = "test_resnet"
COMMIT = "0" * 40
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")
Mode = Literal["whole", "missing", "silent", "cut", "other bytes"]


class Hub:
    """A hub that has the weights of `BACKBONE`.

    Attributes:
        address: For ``HF_ENDPOINT``.
        content: The file of weights.
        mode: How it answers: with everything, with 404, never, with the first half of the file, with another file.
        requests: Method and path of each request.
    """

    def __init__(self, address: str, content: bytes) -> None:
        self.address = address
        self.content = content
        self.mode: Mode = "whole"
        self.requests: list[str] = []
        self.is_closing = threading.Event()


def weights_content() -> bytes:
    """Weights of `BACKBONE` by a seed of their own, with its thousand classes."""
    torch.manual_seed(5)
    return safetensors.torch.save(timm.create_model(BACKBONE).state_dict())


@contextlib.contextmanager
def serve_hub(content: bytes | None = None) -> Iterator[Hub]:
    """Answers at an address of this machine until the block ends."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        hub = Hub(f"http://127.0.0.1:{server.server_port}", weights_content() if content is None else content)
        server.hub = hub  # type: ignore[attr-defined]  # the handler is made by the server for each request
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            hub.is_closing.set()
            server.shutdown()
            thread.join()


def use_hub(monkeypatch: pytest.MonkeyPatch, address: str, cache: Path) -> None:
    """Lets this process ask a hub at an address, with a cache of its own."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


def fill_cache(cache: Path, content: bytes) -> Path:
    """Puts weights of `BACKBONE` into a cache as the hub's client does after a download."""
    repo = cache / "models--timm--test_resnet.r160_in1k"
    path = repo / "snapshots" / COMMIT / "model.safetensors"
    for folder in (path.parent, repo / "refs"):
        folder.mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    path.write_bytes(content)
    return path


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Prints nothing."""

    def _answer(self, *, with_content: bool) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        hub.requests.append(f"{self.command} {self.path}")
        if hub.mode == "silent":
            hub.is_closing.wait()
            self.close_connection = True
            return
        if hub.mode == "missing" or not self.path.endswith("/model.safetensors"):
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(hub.content).hexdigest()}"')
        self.send_header("Content-Length", str(len(hub.content)))
        self.end_headers()
        if not with_content:
            return
        content = hub.content
        if hub.mode == "cut":
            content, self.close_connection = content[: len(content) // 2], True
        elif hub.mode == "other bytes":
            content = bytes(len(content))
        self.wfile.write(content)
