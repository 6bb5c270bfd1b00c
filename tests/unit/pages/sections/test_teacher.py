from __future__ import annotations

import pytest
from tests.helpers.page_data import make_run
from tests.unit.pages.sections.test_weights import CHOICE

from classifier_training.pages.read.curves import Curves
from classifier_training.pages.report import render_report
from classifier_training.pages.sections.teacher import teacher_section
from classifier_training.run.teacher_scores import TeacherScores

ENVIRONMENT = {"teacher": {"teacher": "/runs/big", "backbone": "resnet50", "sha256": "ab" * 32}}
CONFIG = {"distill": {"weight": 0.5, "temperature": 2.0}, "loss": {"name": "cross_entropy"}}
SCORES = TeacherScores(top1=0.9, log_loss=0.31, num_images=40)
METRICS = Curves((0, 1, 2), {"val/top1": (0.5, 0.6, 0.875), "val/loss": (2.0, 1.0, 0.4)})


def test_the_student_is_compared_with_its_teacher() -> None:
    run = make_run(environment=ENVIRONMENT, config=CONFIG, teacher=SCORES, metrics=METRICS)
    section = teacher_section(run)

    assert section is not None
    assert section.lead.replace("\N{NO-BREAK SPACE}", " ") == (
        "The model learned from the labels and from the predictions of big. The teacher classifies 90.0 % of the"
        " validation photos correctly, this model 87.5 %: 2.5 points less."
    )
    assert section.values["rows"] == [
        ("teacher", "90.0\N{NO-BREAK SPACE}%", "0.31"),
        ("this model", "87.5\N{NO-BREAK SPACE}%", "0.4"),
    ]
    assert ("SHA-256 of its weights", "ab" * 32) in section.values["facts"]
    assert ("temperature", "2") in section.values["facts"]
    assert "resnet50" in render_report(run)


@pytest.mark.parametrize(("top1", "words"), [(0.85, "2.5 points more."), (0.875, ", and this model as many.")])
def test_the_final_weights_are_those_that_are_compared(top1: float, words: str) -> None:
    scores = TeacherScores(top1=top1, log_loss=0.31, num_images=40)
    section = teacher_section(make_run(environment=ENVIRONMENT, config=CONFIG, teacher=scores, choice=CHOICE))

    assert section is not None
    assert section.lead.endswith(words)


def test_another_loss_is_not_compared_with_the_log_loss_of_the_teacher() -> None:
    config = CONFIG | {"loss": {"name": "focal"}}
    section = teacher_section(make_run(environment=ENVIRONMENT, config=config, teacher=SCORES, metrics=METRICS))
    assert section is not None
    assert section.values["rows"][1] == ("this model", "87.5\N{NO-BREAK SPACE}%", "—")


def test_a_teacher_whose_score_is_not_known_is_named() -> None:
    section = teacher_section(make_run(environment=ENVIRONMENT, config=CONFIG))
    assert section is not None
    assert section.lead.endswith("and from the predictions of big.")


def test_other_runs_have_no_such_section() -> None:
    assert teacher_section(make_run()) is None
    assert teacher_section(make_run(environment={"teacher": None})) is None
