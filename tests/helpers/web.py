"""A real web server in a thread, which can be told to fail."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class WebFolder:
    """A folder that is served.

    Attributes:
        address: Of the folder.
        failures: Answers to give in place of the file: status by path; each is used once, from the left.
        redirects: Where a path has moved to.
        authorization: What every request must be sent with, as ``user:password``; empty: nothing.
        is_cutting: Whether every file ends too early.
        gets: How often each path was fetched.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.failures: dict[str, list[int]] = {}
        self.redirects: dict[str, str] = {}
        self.authorization = ""
        self.is_cutting = False
        self.gets: Counter[str] = Counter()


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[WebFolder]:
    """Serves a folder at an address of this machine until the block ends."""
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        web = WebFolder(f"http://127.0.0.1:{server.server_port}")
        server.web = web  # type: ignore[attr-defined]  # the handler is made by the server for each request
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.SimpleHTTPRequestHandler):
    def do_HEAD(self) -> None:
        if not self._fails():
            super().do_HEAD()

    def do_GET(self) -> None:
        self._web.gets[self.path] += 1
        if self._fails():
            return
        if self._web.is_cutting and Path(self.translate_path(self.path)).is_file():
            content = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""

    @property
    def _web(self) -> WebFolder:
        return self.server.web  # type: ignore[attr-defined, no-any-return]

    def _fails(self) -> bool:
        wanted = self._web.authorization
        if wanted and self.headers.get("Authorization") != f"Basic {base64.b64encode(wanted.encode()).decode()}":
            self.send_error(401)
            return True
        if self.path in self._web.redirects:
            self.send_response(302)
            self.send_header("Location", self._web.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return True
        statuses = self._web.failures.get(self.path, [])
        if not statuses:
            return False
        self.send_error(statuses.pop(0))
        return True
