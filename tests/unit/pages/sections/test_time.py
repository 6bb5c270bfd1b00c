from __future__ import annotations

from dataclasses import replace

from tests.helpers.markup import read_markup
from tests.helpers.page_data import make_run
from tests.unit.pages.sections.test_probe import START

from classifier_training.pages.read.curves import Curves
from classifier_training.pages.report import render_report
from classifier_training.pages.sections.time import time_section
from classifier_training.run.time_spent import FirstForecast, TimeSpent

SPENT = TimeSpent(
    seconds={"start": 4.0, "probe": 24.0, "training": 100.0, "scoring": 6.25, "export": 9.0, "<b>new": 2.0},
    forecast=FirstForecast(value=0.85, low=0.8, high=0.9),
)
TIMINGS = Curves(
    (0, 1),
    {
        "seconds": (40.0, 30.0),
        "forecast": (0.86, 0.87),
        "forecast_low": (0.82, 0.85),
        "forecast_high": (0.9, 0.89),
    },
)
METRICS = Curves((0, 1), {"val/top1": (0.84, 0.8725)})
RUN = make_run(time=SPENT, timings=TIMINGS, metrics=METRICS, probe=START, config={"trainer": {"time_limit": "2m30s"}})


def test_the_time_is_divided_and_compared_with_its_limit() -> None:
    section = time_section(RUN)

    assert section is not None
    assert section.lead.startswith("The run took 2 min 25 s of the 2 min 30 s of its time limit, from the start")
    assert {name: time for name, time, *_ in section.values["rows"]} == {
        "start: photos, plan and model": "4.0 s",
        "linear probe": "24 s",
        "training on batches": "1 min 10 s",
        "validation, checkpoints and pages between the epochs": "30 s",
        "final scores": "6.2 s",
        "export and its verification": "9.0 s",
        "<b>new": "2.0 s",
    }
    assert "<b>new" not in render_report(RUN)


def test_the_forecasts_are_shown_against_what_came() -> None:
    section = time_section(RUN)
    assert section is not None
    assert section.lead.replace("\N{NO-BREAK SPACE}", " ").endswith(
        "Before the first epoch, a best validation top-1 of 85.0 % (80.0 % to 90.0 %) was forecast; 87.2 % came, within"
        " that interval."
    )
    chart = read_markup(section.values["chart"]["svg"])
    assert len(chart.all("line", "error")) == 3
    assert len(chart.all("circle", "kind-2")) == 3, "the probe, and two epochs"
    assert "probe" in chart.only("div").attributes["data-hits"]


def test_an_interval_that_did_not_hold_is_told_and_a_running_one_has_no_verdict() -> None:
    outside = time_section(replace(RUN, metrics=Curves((0, 1), {"val/top1": (0.5, 0.6)})))
    running = time_section(replace(RUN, status="training"))

    assert outside is not None
    assert outside.lead.endswith("60.0\N{NO-BREAK SPACE}% came, outside that interval.")
    assert running is not None
    assert running.lead.startswith("So far 2 min 25 s of the 2 min 30 s")
    assert running.lead.endswith("was forecast; the best so far is 87.2\N{NO-BREAK SPACE}%.")


def test_a_run_without_limit_has_its_time_and_no_forecast() -> None:
    section = time_section(make_run(time=replace(SPENT, forecast=None)))

    assert section is not None
    assert section.lead == "2 min 25 s in all, from the start of the command."
    assert section.values["chart"] is None


def test_a_run_of_an_early_version_shows_the_forecasts_alone() -> None:
    section = time_section(make_run(timings=TIMINGS, metrics=METRICS))
    assert section is not None
    assert section.values["rows"] == []
    assert section.lead.startswith("After 1\N{NO-BREAK SPACE}epoch, a best validation top-1 of 86.0")
    render_report(make_run(timings=TIMINGS, metrics=METRICS))


def test_nothing_is_shown_where_nothing_is_known() -> None:
    assert time_section(make_run()) is None
    assert time_section(make_run(timings=Curves((0,), {"seconds": (3.0,)}))) is None
