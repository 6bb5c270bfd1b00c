from __future__ import annotations

from dataclasses import replace

from tests.helpers.markup import read_markup
from tests.helpers.page_data import make_run

from classifier_training.pages.report import render_report
from classifier_training.pages.sections.probe import probe_section
from classifier_training.run.probe import ProbeCurvePoint, ProbeRecord, ProbeScores

PROBE = ProbeRecord(
    strength=0.01,
    train_log_loss=0.12,
    num_images=767,
    num_views=1,
    num_features=1280,
    num_held_out=767,
    curve=(
        ProbeCurvePoint(0.001, 1.5, 0.5, 0.02),
        ProbeCurvePoint(0.01, 0.5, 0.834, 0.03),
        ProbeCurvePoint(0.1, 0.48, 0.842, 0.035),
        ProbeCurvePoint(1.0, 0.6, 0.83, 0.05),
    ),
    val=None,
    seconds=24.2,
)
START = replace(PROBE, val=ProbeScores(log_loss=0.546, top1=0.79))


def test_the_choice_of_the_strength_is_explained() -> None:
    section = probe_section(make_run(probe=PROBE, config={"recipe": {"name": "probe"}}))

    assert section is not None
    assert section.lead.replace("\N{NO-BREAK SPACE}", " ") == (
        "The model is a logistic regression on 1,280 features of 767 training photos, fitted in 24 s. Of 4 strengths of"
        " its penalty, C = 0.01 was chosen, with a log-loss of 0.5 ± 0.03 and a top-1 of 83.4 % on photos that were"
        " held out."
    )
    assert "least at C = 0.1; of all strengths" in section.values["hint"]
    assert "one standard error above that (0.515, the dashed line)" in section.values["hint"]
    assert "1\N{NO-BREAK SPACE}strength of a much higher log-loss" in section.values["hint"]


def test_the_figure_marks_the_choice_and_the_standard_errors() -> None:
    section = probe_section(make_run(probe=START))
    assert section is not None
    losses, top1 = (read_markup(chart["svg"]) for chart in section.values["charts"])

    bars = losses.all("line", "error")
    assert len(bars) == 3, "the loss that is far above the others is left out"
    assert all(bar.share("y2") < bar.share("y1") for bar in bars)
    assert losses.only("text", "mark-name").text == "chosen: C = 0.01"
    assert "log-loss\t1.5 ± 0.02" in losses.only("div").attributes["data-hits"].replace("\\t", "\t")
    assert len(top1.all("circle")) == 4
    assert "The training began with" in section.lead
    assert (
        "classified 79.0\N{NO-BREAK SPACE}% of the validation photos correctly, with a log-loss of 0.546"
        in section.lead
    )


def test_photos_that_were_never_held_out_are_not_counted() -> None:
    section = probe_section(make_run(probe=replace(PROBE, num_views=2, num_held_out=1500)))
    assert section is not None
    assert "750\N{NO-BREAK SPACE}photos were each held out once" in section.values["hint"]


def test_where_nothing_could_be_held_out_there_is_no_figure() -> None:
    page = render_report(make_run(probe=replace(PROBE, curve=(), num_held_out=0)))
    assert "No photos could be held out to choose its penalty, so C = 0.01 was taken." in page
    assert "Cross-validated" not in page


def test_other_runs_have_no_such_section() -> None:
    assert probe_section(make_run()) is None
    assert "Linear probe" not in render_report(make_run())
