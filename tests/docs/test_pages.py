"""README and docs: short lines, links that lead somewhere, and pages that agree with the code."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from scripts.settings_page import settings_page
from tests.helpers.docs import PAGES, ROOT, blocks

from classifier_training.pages.sections import SECTIONS

MAX_LINE = 119
MAX_README_LINES = 150
PUBLIC_PACKAGES = ("classifier_training", *(f"classifier_training.{name}" for name in ("callbacks", "data", "models")))

_LINK = re.compile(r"""\[[^\]]*\]\(([^)\s]+)\)|<img src="([^"]+)""")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_lines_are_short(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    too_long = [f"{page.name}:{number}" for number, line in enumerate(lines, 1) if len(line) > MAX_LINE]
    assert not too_long, f"longer than {MAX_LINE} characters; turn a wide table into a list"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for match in _LINK.finditer(page.read_text(encoding="utf-8")):
        link = match[1] or match[2]
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_every_block_names_its_language() -> None:
    assert not [block.name for page in PAGES for block in blocks(page) if not block.language]


def test_the_settings_page_is_current() -> None:
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == settings_page(), "docs/settings.md is out of date; run: python scripts/settings_page.py"


def test_the_layers_of_the_architecture_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("| layer |") :].split("\n\n")[0].splitlines()[2:]
    described = [" | ".join(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table]
    assert described == layers


def test_the_api_reference_has_every_public_name() -> None:
    listed = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(set(listed)) == len(listed)
    public = {f"{package}.{name}" for package in PUBLIC_PACKAGES for name in importlib.import_module(package).__all__}
    assert public <= set(listed)
    for name in listed:
        package, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(package), attribute), name


def test_the_page_of_the_report_lists_its_sections() -> None:
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    table = text[text.index("| section |") :].split("\n\n")[0].splitlines()[2:]
    titles = [importlib.import_module(f"classifier_training.pages.sections.{name}").TITLE for name in SECTIONS]
    assert [row.split("|")[1].strip() for row in table] == titles


def test_the_site_has_every_page() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = re.findall(r"[\w-]+\.md", str(nav))
    assert sorted(named) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))
