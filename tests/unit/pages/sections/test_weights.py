from __future__ import annotations

from dataclasses import replace

from tests.helpers.page_data import make_run

from classifier_training.pages.report import render_report
from classifier_training.pages.sections.weights import weights_section
from classifier_training.results.final_choice import Candidate, FinalChoice

CHOICE = FinalChoice(
    chosen="0.5 × probe + 0.5 × epoch 3",
    candidates=(
        Candidate(name="0.5 × probe + 0.5 × epoch 3", loss=0.4, top1=0.875, difference=0.0, standard_error=0.0),
        Candidate(name="epoch 3", loss=0.45, top1=0.9, difference=0.05, standard_error=0.02),
        Candidate(name="probe", loss=0.5, top1=0.85, difference=0.1),
    ),
    num_images=40,
    left_out="not averaged, as BatchNorm's statistics differ: the best epochs",
)


def test_the_choice_is_shown_with_its_margin() -> None:
    section = weights_section(make_run(choice=CHOICE))
    assert section.lead == (
        "Chosen by the validation loss in float32: 0.5 × probe + 0.5 × epoch 3: its validation loss, 0.4000, is"
        " 0.0500 lower than that of the next candidate, epoch 3, and 0.1000 lower than that of the probe (40 validation"
        " images)."
    )
    assert [(row[0], row[3]) for row in section.values["rows"]] == [
        ("0.5 × probe + 0.5 × epoch 3", ""),
        ("epoch 3", "+0.0500 ± 0.0200"),
        ("probe", "+0.1000"),
    ]
    assert section.values["left_out"] == CHOICE.left_out


def test_nothing_is_said_of_averages_where_none_was_left_out() -> None:
    assert "(no name)" not in render_report(make_run(choice=replace(CHOICE, left_out="")))


def test_without_a_choice_the_best_epoch_is_named() -> None:
    assert weights_section(make_run(status="finished")).empty == "They are those of the best epoch."


def test_the_record_survives_a_checkpoint_of_plain_values() -> None:
    assert FinalChoice.from_plain(CHOICE.to_plain()) == CHOICE
