"""``report.html``: a whole run, or an evaluation, on one page."""

from __future__ import annotations

from datetime import datetime

from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.sections import sections_of
from classifier_training.pages.templating import render_page
from classifier_training.pages.wording import moment

_STATUS = {"finished": "Training report", "training": "Not finished", "evaluation": "Evaluation report"}


def render_report(data: RunData) -> str:
    """The page as text; it needs no other file and no network."""
    values = {
        "title": one_line(data.name),
        "kind": _STATUS[data.status],
        "sections": sections_of(data),
        "missing": data.missing,
        "made": moment(datetime.now().astimezone()),
    }
    return render_page("report.html.j2", values)
