"""What every page keeps to, in a real browser."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from tests.helpers.browser import ColorScheme, visit
from tests.helpers.run_folders import HOSTILE_NAMES

from classifier_training.pages.charts.svg import one_line

PAGES = (
    "run",
    "hostile",
    "training",
    "two",
    "thousand",
    "evaluation",
    "comparison",
    "odd comparison",
)
WIDTHS = (360, 768, 1280)

each = pytest.mark.parametrize("name", PAGES)
each_small = pytest.mark.parametrize("name", [name for name in PAGES if name != "thousand"])  # a tree of seconds


def show_all(page: Page) -> None:
    """Opens what is folded, so that all of it is laid out."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate(
        "document.querySelectorAll('.section').forEach((one) => { one.style.contentVisibility = 'visible'; })"
    )


def accessible_nodes(page: Page) -> list[dict[str, Any]]:
    """What a screen reader gets: role, name, and whether the keyboard reaches it."""
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    return [
        {
            "role": node.get("role", {}).get("value"),
            "name": node.get("name", {}).get("value", ""),
            "focusable": any(
                one["name"] == "focusable" and one["value"]["value"] for one in node.get("properties", [])
            ),
        }
        for node in tree["nodes"]
        if not node["ignored"]
    ]


@each
@pytest.mark.parametrize("width", WIDTHS)
def test_it_opens_without_a_complaint_or_a_request_and_fits(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    with visit(browser, pages[name], width=width) as seen:
        show_all(seen.page)
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        assert seen.page.locator("h1").inner_text().strip()


@each_small
def test_all_that_can_be_reached_has_a_role_and_a_name(browser: Browser, pages: dict[str, Path], name: str) -> None:
    with visit(browser, pages[name]) as seen:
        show_all(seen.page)
        nodes = [node for node in accessible_nodes(seen.page) if node["focusable"]]

        assert len(nodes) > 5
        nameless = [node for node in nodes if not node["name"].strip() and node["role"] != "main"]
        assert not nameless
        assert not [node for node in nodes if node["role"] in {None, "generic", "none"}]


@each_small
def test_all_that_can_be_clicked_can_be_reached_with_the_keyboard(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    with visit(browser, pages[name]) as seen:
        show_all(seen.page)
        unreachable = seen.page.evaluate(
            """() => [...document.querySelectorAll("*")]
            .filter((one) => getComputedStyle(one).cursor === "pointer" && one.offsetParent)
            .filter((one) => getComputedStyle(one.parentElement).cursor !== "pointer")
            .filter((one) => one.tabIndex < 0 && !one.querySelector("input") && !one.matches("label *"))
            .map((one) => one.outerHTML.slice(0, 200))"""
        )
        assert unreachable == []


@each_small
def test_images_and_tables_have_names(browser: Browser, pages: dict[str, Path], name: str) -> None:
    with visit(browser, pages[name]) as seen:
        show_all(seen.page)
        nodes = accessible_nodes(seen.page)

        assert not [node for node in nodes if node["role"] in {"image", "img"} and not node["name"].strip()]
        assert seen.page.evaluate("[...document.querySelectorAll('thead th')].every((one) => one.scope === 'col')")
        headings = seen.page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((one) => Number(one.tagName[1]))")
        assert headings[0] == 1
        assert headings.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(headings))


@pytest.mark.parametrize("name", ["run", "comparison"])
def test_it_is_dark_for_who_wants_it_dark(browser: Browser, pages: dict[str, Path], name: str) -> None:
    lightness: dict[ColorScheme, int] = {}
    schemes: tuple[ColorScheme, ...] = ("light", "dark")
    for scheme in schemes:
        with visit(browser, pages[name], color_scheme=scheme) as seen:
            colour = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
            ink = seen.page.evaluate("getComputedStyle(document.body).color")
            lightness[scheme] = sum(map(int, colour[4:-1].split(",")))
            assert abs(lightness[scheme] - sum(map(int, ink[4:-1].split(",")))) > 400  # it can be read

    assert lightness["light"] > 600
    assert lightness["dark"] < 150


@each
def test_it_can_be_printed(browser: Browser, pages: dict[str, Path], name: str) -> None:
    with visit(browser, pages[name], width=720, color_scheme="dark") as seen:  # about A4 without its margins
        seen.page.emulate_media(media="print")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= 720
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not seen.page.locator("nav.contents").is_visible()
        assert not seen.page.locator(".copy:visible").count()
        assert seen.page.pdf().startswith(b"%PDF")


@each
def test_it_says_the_same_without_scripts(browser: Browser, pages: dict[str, Path], name: str) -> None:
    with visit(browser, pages[name], scripts=False) as seen:
        assert seen.page.locator("h2").count() >= 3
        assert seen.page.locator("#classes-table tbody tr").first.is_visible()
        assert seen.page.locator("svg[role=img]:visible").count() >= 2
        assert seen.page.locator(".needs-script:visible").count() == 0


@pytest.mark.parametrize("name", ["hostile", "odd comparison"])
def test_hostile_names_are_text_and_nothing_else(browser: Browser, pages: dict[str, Path], name: str) -> None:
    with visit(browser, pages[name]) as seen:
        show_all(seen.page)
        shown = seen.page.locator("#classes-table tbody th").all_text_contents()

        assert set(map(one_line, HOSTILE_NAMES)) <= {one.strip() for one in shown}
        assert seen.page.evaluate("window.hacked") is None
        assert seen.page.locator("img[src='x'], b").count() == 0
        assert seen.page.evaluate("document.querySelectorAll('script:not([type])').length") == 1


@each
def test_a_page_without_images_is_small(pages: dict[str, Path], name: str) -> None:
    text = pages[name].read_text(encoding="utf-8")
    images = sum(len(part.partition('"')[0]) for part in text.split("data:image/jpeg;base64,")[1:])

    assert len(text.encode()) - images < 5_000_000


@pytest.mark.parametrize("name", ["run", "comparison"])
def test_a_table_is_sorted_by_click_and_by_keyboard(browser: Browser, pages: dict[str, Path], name: str) -> None:
    with visit(browser, pages[name]) as seen:
        table = seen.page.locator("#classes-table")
        headers = table.locator("thead th[aria-sort]")
        buttons = table.locator("thead button.sort")
        scores = table.locator("tbody tr td.score-cell:nth-of-type(2)")

        def shown() -> list[float]:
            return [float(one.get_attribute("data-value") or "nan") for one in scores.all()]

        buttons.nth(2).click()
        assert headers.nth(2).get_attribute("aria-sort") == "descending"
        assert shown() == sorted(shown(), reverse=True)
        assert len(set(shown())) > 1
        buttons.nth(2).focus()
        seen.page.keyboard.press("Enter")
        assert headers.nth(2).get_attribute("aria-sort") == "ascending"
        assert shown() == sorted(shown())
        buttons.nth(0).focus()
        seen.page.keyboard.press("Space")
        assert headers.nth(2).get_attribute("aria-sort") == "none"
        names = table.locator("tbody th").all_text_contents()
        assert [one.strip() for one in names] == [f"class {index}" for index in range(4)]
        assert "sorted by class, ascending" in seen.page.locator("[aria-live]").all_text_contents()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_intervals_of_each_class_are_shown_at_every_width(
    browser: Browser, pages: dict[str, Path], width: int
) -> None:
    with visit(browser, pages["run"], width=width) as seen:
        intervals = seen.page.locator("#classes-table .range")

        assert intervals.count() == 2 * 4
        assert all(one.is_visible() for one in intervals.all())


def test_compared_scores_stand_below_the_names_of_their_runs(browser: Browser, pages: dict[str, Path]) -> None:
    with visit(browser, pages["comparison"]) as seen:
        sides = seen.page.evaluate(
            """[...document.querySelectorAll("#classes-table thead th:not(:first-child), #classes-table tbody td")]
            .map((one) => getComputedStyle(one).textAlign)"""
        )

        assert set(sides) == {"right"}


def test_a_class_without_photos_is_sorted_last_either_way(browser: Browser, pages: dict[str, Path]) -> None:
    with visit(browser, pages["training"]) as seen:
        for _ in range(2):
            seen.page.locator("#classes-table thead button.sort").nth(3).click()
            assert seen.page.locator("#classes-table tbody th").last.inner_text() == "class 1"
