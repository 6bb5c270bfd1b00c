from __future__ import annotations

import math

from tests.helpers.page_data import make_run

from classifier_training.pages.report import render_report
from classifier_training.pages.sections.lr_range import lr_range_section
from classifier_training.run.lr_range import HIGHEST, LOWEST, NUM_STEPS, RangeTest, smooth

RATES = tuple(LOWEST * (HIGHEST / LOWEST) ** (number / (NUM_STEPS - 1)) for number in range(NUM_STEPS))
LOSSES = [2.0 + math.log10(rate / 1e-2) ** 2 / 10 for rate in RATES[:80]] + [8.0, 30.0, 900.0]
TEST = RangeTest(RATES[:83], tuple(LOSSES), smooth(LOSSES))


def test_the_chosen_rate_and_the_end_of_the_test_are_told() -> None:
    section = lr_range_section(make_run(lr_range=TEST, config={"optimizer": {"lr": 0.0035}}))

    assert section is not None
    assert section.lead.startswith("Before the training, the learning rate rose in 83\N{NO-BREAK SPACE}steps. ")
    assert (
        "lowest at 0.035, and a tenth of that, 0.0035, was taken. Above 0.035 the loss rises; it ended at 0.093,"
        in (section.lead)
    )
    chart = section.values["chart"]["svg"]
    assert "chosen: 0.0035" in chart
    assert "lowest loss: 0.035" in chart
    assert "learning rate 0.093" in chart, "what is too high for the chart is in its texts"
    assert "900" in chart


def test_a_loss_that_does_not_fall_chooses_the_default() -> None:
    flat = RangeTest(RATES, (2.0,) * NUM_STEPS, (2.0,) * NUM_STEPS)
    section = lr_range_section(make_run(lr_range=flat, config={"optimizer": {"lr": 0.001}}))

    assert section is not None
    assert section.lead.endswith(
        "it went up to 1. The loss did not fall at any of them, so the default, 0.001, was taken."
    )
    assert "lowest loss" not in section.values["chart"]["svg"]


def test_a_test_without_a_step_has_no_chart() -> None:
    page = render_report(make_run(lr_range=RangeTest((), (), ())))
    assert "as the loss was no finite number any more" in page
    assert "Loss by learning rate" not in page


def test_other_runs_have_no_such_section() -> None:
    assert lr_range_section(make_run()) is None
    assert "range test" not in render_report(make_run())
