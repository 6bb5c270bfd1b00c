from __future__ import annotations

from tests.helpers.page_data import make_run

from classifier_training.pages.report import render_report
from classifier_training.pages.sections.recipe import recipe_section
from classifier_training.run.events import Event, Events
from classifier_training.run.plan_record import PlanRecord

PLAN = PlanRecord(rows={"optimizer": "adamw, SAM at 0.05: two passes for each step", "EMA": "<b>off"})
EVENTS = Events(events=(Event(time="2026-11-29T13:00:00+00:00", text="memory ran out"), Event(time="?", text="<i>")))


def test_the_plan_and_what_happened_are_shown_as_text() -> None:
    page = render_report(make_run(plan=PLAN, events=EVENTS))

    assert "SAM at 0.05: two passes for each step" in page
    assert "memory ran out" in page
    assert "&lt;b&gt;off" in page
    assert "<i>" not in page


def test_either_is_shown_alone() -> None:
    assert "What happened" not in render_report(make_run(plan=PLAN))
    assert "What happened" in render_report(make_run(events=EVENTS))


def test_a_run_of_an_early_version_has_no_such_section() -> None:
    assert recipe_section(make_run()) is None
    assert recipe_section(make_run(events=Events())) is None
