"""Sections of the report, one a file; a section reads no file itself, and nothing else belongs here."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.section import Section

SECTIONS: Final = (
    "verdict",
    "folds",
    "recipe",
    "curves",
    "time",
    "probe",
    "lr_range",
    "weights",
    "teacher",
    "confusion",
    "classes",
    "calibration",
    "coverage",
    "unknown",
    "exports",
    "images",
    "photos",
    "configuration",
)
"""In the order of the page: ``NAME`` is the file ``NAME.py``, whose function ``NAME_section`` makes the section.

It gives None for a page that has no such section.

Its template is ``templates/sections/KEY.html.j2``, where ``KEY`` is `Section.key`.
"""


def sections_of(data: RunData) -> list[Section]:
    """The sections of a report; those of the training are left out of an evaluation."""
    modules = {name: import_module(f"{__name__}.{name}") for name in SECTIONS}
    made: list[Section | None] = [getattr(module, f"{name}_section")(data) for name, module in modules.items()]
    sections = [section for section in made if section is not None]
    return [section for section in sections if not (section.is_of_training and data.status == "evaluation")]
