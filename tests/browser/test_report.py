"""What can be done on the page of a run, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.helpers.browser import Visit, visit


def title(page: Page) -> str:
    return page.locator("#cell-title").inner_text()


def check_images(seen: Visit, page_file: Path, cell: str) -> None:
    """The dialog shows the images that were kept of a cell, and they are images."""
    kept = json.loads((page_file.parent / "test" / "pictures.json").read_text(encoding="utf-8"))["pictures"]
    true, predicted = (int(index) for index in cell.split(","))
    wanted = [one for one in kept if (one["true"], one["predicted"]) == (f"class {true}", f"class {predicted}")]
    images = seen.page.locator(".cell-images img")
    expect(images).to_have_count(len(wanted))
    assert wanted
    for image in images.all():
        assert image.evaluate("(one) => one.decode().then(() => one.naturalWidth)") == 64
    alternatives = [image.get_attribute("alt") or "" for image in images.all()]
    assert all(Path(one["file"]).name in text for one, text in zip(wanted, alternatives, strict=True))


def test_a_confused_pair_shows_its_images(browser: Browser, pages: dict[str, Path]) -> None:
    with visit(browser, pages["run"]) as seen:
        pair = seen.page.locator("button.pair").first
        pair.click()

        assert "predicted as" in title(seen.page)
        check_images(seen, pages["run"], pair.get_attribute("data-cell") or "")
        seen.page.keyboard.press("Escape")
        assert not seen.page.locator("#cell-dialog").is_visible()


def test_a_cell_of_the_matrix_is_clicked(browser: Browser, pages: dict[str, Path]) -> None:
    with visit(browser, pages["run"]) as seen:
        canvas = seen.page.locator("#matrix-canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        side = min(box["width"], box["height"])
        canvas.click(position={"x": side * 0.95, "y": side * 0.95})

        assert seen.page.locator("#cell-dialog").is_visible()
        assert "class 3" in title(seen.page)


def test_the_matrix_is_walked_with_the_arrow_keys(browser: Browser, pages: dict[str, Path]) -> None:
    with visit(browser, pages["run"]) as seen:
        seen.page.locator("#matrix-canvas").focus()
        status = seen.page.locator("#matrix-status")
        seen.page.keyboard.press("ArrowRight")
        first = status.inner_text()
        seen.page.keyboard.press("ArrowDown")
        assert first
        assert status.inner_text() not in {"", first}
        seen.page.keyboard.press("ArrowRight")  # from the second class as the first, to the second as itself
        seen.page.keyboard.press("Enter")
        assert "class 1" in title(seen.page)
        assert "predicted correctly" in title(seen.page)


@pytest.mark.parametrize("name", ["run", "training", "comparison"])
def test_a_chart_tells_its_values_to_the_keyboard(browser: Browser, pages: dict[str, Path], name: str) -> None:
    with visit(browser, pages[name]) as seen:
        chart = seen.page.locator(".chart[data-hits]:not([data-hits='[]'])").first
        chart.scroll_into_view_if_needed()
        focusable = chart.locator("xpath=descendant-or-self::*[@tabindex='0']").first
        focusable.focus()
        seen.page.keyboard.press("ArrowRight")
        tip = seen.page.locator(".tip")
        expect(tip).to_be_visible()
        assert "Epoch" in tip.inner_text()


def test_a_thousand_classes_are_searched_and_the_matrix_starts_at_the_most_confused(
    browser: Browser, pages: dict[str, Path]
) -> None:
    with visit(browser, pages["thousand"]) as seen:
        assert seen.page.locator("#classes-table tbody tr").count() == 1000
        seen.page.get_by_label("Find a class").first.fill("class 99")
        assert seen.page.locator("#classes-table tbody tr:visible").count() == 11  # 99, 990 … 999
        assert seen.page.locator("input[name=matrix-classes]").count() == 2
        seen.page.locator("input[name=matrix-classes][value=all]").check(force=True)
        seen.page.locator("#matrix-canvas").focus()
        seen.page.keyboard.press("ArrowRight")
        assert seen.page.locator("#matrix-status").inner_text()
