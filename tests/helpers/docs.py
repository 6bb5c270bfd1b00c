"""The pages of the documentation, and the code blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))
RUNNABLE = ("sh", "console", "python")

_FENCE = re.compile(r"^( *)```(\S*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of a page.

    Attributes:
        page: Its file.
        line: The line of its opening fence, from 1.
        language: ``sh``, ``console``, ``python`` or another.
        code: What is between the fences.
        not_run: Why it cannot run in a test, from the comment ``<!-- not run: REASON -->`` before it; else None.
    """

    page: Path
    line: int
    language: str
    code: str
    not_run: str | None

    @property
    def name(self) -> str:
        """Page and line, as a test's name."""
        return f"{self.page.stem}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a block, one line each, without comments; of a ``console`` block those behind ``$``."""
        lines = self.code.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in (re.sub(r"(^|\s)#.*", "", one).strip() for one in lines) if line]

    @property
    def output(self) -> list[str]:
        """The output that a ``console`` block shows; an ellipsis marks what was left out."""
        lines = [line.strip() for line in self.code.splitlines() if not line.startswith("$ ")]
        return [line for line in lines if line and line != "…"]


def blocks(page: Path) -> Iterator[Block]:
    """All fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        before = text[: match.start()]
        reason = _NOT_RUN.search(before)
        code = re.sub(f"^{match[1]}", "", match[3], flags=re.MULTILINE)
        yield Block(page, before.count("\n") + 1, match[2], code, reason[1] if reason else None)


def runnable_blocks() -> list[Block]:
    """The blocks of all pages that are commands or programs."""
    return [block for page in PAGES for block in blocks(page) if block.language in RUNNABLE]
