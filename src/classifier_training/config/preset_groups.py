"""Groups of packaged settings, chosen with ``group=name``: ``model=resnet50``, ``recipe=finetune``."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PRESETS = Path(__file__).parent / "presets"
PRESET_GROUPS: Final = ("model", "recipe")
"""The folders of ``presets/``, in the order in which they are applied: a later one wins."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One file of ``presets/``.

    Attributes:
        group: Its folder; ``model``.
        name: Its name, as in ``model=resnet50``.
        summary: The first sentence of the comment that it opens with.
    """

    group: str
    name: str
    summary: str


def presets() -> list[Preset]:
    """All presets, by group and name."""
    return [
        Preset(group, name, _summary(preset_file(group, name)))
        for group in PRESET_GROUPS
        for name in preset_names(group)
    ]


def preset_names(group: str) -> list[str]:
    """The names that ``group=NAME`` accepts."""
    return sorted(path.stem for path in (PRESETS / group).glob("*.yaml"))


def backbone_presets() -> list[str]:
    """The presets of ``model`` that stand for one backbone, which is named as they are."""
    return [name for name in preset_names("model") if name != "auto"]


def preset_file(group: str, name: str) -> Path:
    """The file of a preset."""
    return PRESETS / group / f"{name}.yaml"


def _summary(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = " ".join(
        line.removeprefix("#").strip() for line in itertools.takewhile(lambda line: line[:1] == "#", lines)
    )
    return re.split(r"(?<=\.)\s", comment, maxsplit=1)[0]
