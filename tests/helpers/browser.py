"""A real browser that visits pages, and fails a test for anything that a page should not do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ALLOWED = ("file:", "data:", "blob:")

ColorScheme = Literal["light", "dark"]


def find_chromium(playwright: Playwright) -> str | None:
    """A Chromium of this machine, or the one that playwright has installed; None: there is none."""
    found = next((path for path in map(shutil.which, NAMES) if path is not None), None)
    own = playwright.chromium.executable_path
    return found or (own if Path(own).is_file() else None)


def launch(playwright: Playwright, executable: str) -> Browser:
    """Starts it, with a user folder of its own."""
    return playwright.chromium.launch(executable_path=executable, args=list(OPTIONS))


@dataclass(slots=True)
class Visit:
    """A visited page, and what it did.

    Attributes:
        page: The page.
        messages: Its messages on the console.
        errors: Exceptions of its scripts.
        requests: Addresses of all that it asked for.
    """

    page: Page
    messages: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Fails if it complained, or asked for anything outside the file."""
        assert not self.errors
        assert not self.messages
        assert self.requests
        assert not [address for address in self.requests if not address.startswith(ALLOWED)]
        assert sum(address.startswith("file:") for address in self.requests) == 1


@contextmanager
def visit(
    browser: Browser,
    path: Path,
    *,
    width: int = 1280,
    height: int = 900,
    color_scheme: ColorScheme = "light",
    scripts: bool = True,
) -> Iterator[Visit]:
    """Opens a file, and checks at the end that it did nothing that it should not.

    Args:
        browser: From `launch`.
        path: The HTML file.
        width: Of the window, CSS pixels.
        height: Of the window, CSS pixels.
        color_scheme: What the user prefers.
        scripts: Whether scripts run.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=color_scheme,
        java_script_enabled=scripts,
        reduced_motion="reduce",  # nothing moves while a test looks at it
    )
    try:
        seen = Visit(context.new_page())
        seen.page.on("console", lambda message: seen.messages.append(f"{message.type}: {message.text}"))
        seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.goto(path.resolve().as_uri())
        yield seen
        seen.check()
    finally:
        context.close()
