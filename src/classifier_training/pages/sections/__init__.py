"""Sections of the report, one a file; a section reads no file itself."""

from __future__ import annotations

from collections.abc import Callable

from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.sections.calibration import calibration_section, coverage_section
from classifier_training.pages.sections.classes import classes_section
from classifier_training.pages.sections.configuration import configuration_section
from classifier_training.pages.sections.confusion import confusion_section
from classifier_training.pages.sections.curves import curves_section
from classifier_training.pages.sections.images import images_section
from classifier_training.pages.sections.photos import photos_section
from classifier_training.pages.sections.section import Section
from classifier_training.pages.sections.verdict import verdict_section

Builder = Callable[[RunData], Section]

SECTIONS: tuple[Builder, ...] = (
    verdict_section,
    curves_section,
    confusion_section,
    classes_section,
    calibration_section,
    coverage_section,
    images_section,
    photos_section,
    configuration_section,
)
_OF_TRAINING = {curves_section, photos_section}


def sections_of(data: RunData) -> list[Section]:
    """The sections of a report; those of the training are left out of an evaluation."""
    is_evaluation = data.status == "evaluation"
    return [build(data) for build in SECTIONS if not (is_evaluation and build in _OF_TRAINING)]
