"""That the other tests of this folder would notice."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.helpers.browser import visit


@pytest.mark.parametrize(
    "content",
    [
        "<script>console.error('message')</script>",
        "<script>throw new Error('thrown')</script>",
        "<img src='http://127.0.0.1:9/x.jpg'>",
        "<link rel=stylesheet href='other.css'>",
        "<meta http-equiv=Content-Security-Policy content=\"style-src 'none'\"><p style='color: red'>x</p>",
    ],
)
def test_a_page_that_does_what_it_should_not_is_noticed(browser: Browser, tmp_path: Path, content: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><title>x</title>{content}", encoding="utf-8")

    with pytest.raises(AssertionError), visit(browser, path):
        pass


def test_a_plain_page_is_well(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<!doctype html><title>x</title><p>text", encoding="utf-8")

    with visit(browser, path) as seen:
        assert seen.page.locator("p").inner_text() == "text"
