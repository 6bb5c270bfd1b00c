"""How a run was trained: its plan, as the terminal showed it, and what happened to it besides its epochs."""

from __future__ import annotations

from datetime import datetime

from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.section import Section
from classifier_training.pages.wording import moment

KEY, TITLE = "recipe", "How it was trained"


def recipe_section(data: RunData) -> Section | None:
    """The rows of the plan and the events; a run of an early version has neither."""
    rows = {} if data.plan is None else data.plan.rows
    events = () if data.events is None else data.events.events
    if not rows and not events:
        return None
    values = {
        "rows": [(one_line(name), one_line(text)) for name, text in rows.items()],
        "events": [(_time(event.time), one_line(event.text)) for event in events],
    }
    lead = "What was decided before the training, in the words of the plan that the terminal showed." if rows else ""
    return Section(KEY, TITLE, lead=lead, is_of_training=True, values=values)


def _time(text: str) -> str:
    try:
        return moment(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return ""
