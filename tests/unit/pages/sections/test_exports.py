from __future__ import annotations

from tests.helpers.page_data import make_run

from classifier_training.pages.report import render_report
from classifier_training.pages.sections.exports import exports_section
from classifier_training.run.verification import SchemeTrial, Verification

TRIALS = (
    SchemeTrial(
        scheme="u8s8",
        verdict="taken",
        speedups={"1": 1.5, "8": 1.876},
        bytes=3_500_000,
        top1_agreement=0.97,
        top1=0.88,
        p_value=0.5,
    ),
    SchemeTrial(scheme="s8s8", verdict="does not run", error="no <b>kernel</b>"),
)
INT8 = Verification(
    passed=True,
    num_images=138,
    top1_agreement=0.97,
    max_abs_logit_difference=0.5,
    top1=0.88,
    top1_of_model=0.89,
    schemes=TRIALS,
    cpu="AMD EPYC",
    float_bytes=13_600_000,
)


def test_the_forms_and_the_schemes_that_were_tried() -> None:
    refused = Verification(passed=False, reason="the exported file loses too much")
    run = make_run(exports={"int8": INT8, "fp16": refused})
    section = exports_section(run)

    assert section is not None
    assert section.lead.replace("\N{NO-BREAK SPACE}", " ") == (
        "2 other forms of the model were exported; 1 did not pass, and there is no such file."
    )
    assert section.values["rows"][1] == ("fp16", "the exported file loses too much", "—", "—", "—", "—")
    first, taken, failed = (
        tuple(cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row) for row in section.values["schemes"]
    )
    assert first == ("float32", "1 ×", "1 ×", "13.6 MB", "100 %", "89.0 %", "—", "—")
    assert taken == ("u8s8", "1.5 ×", "1.88 ×", "3.5 MB", "97.0 %", "88.0 %", "0.5", "taken")
    assert failed == ("s8s8", "—", "—", "—", "—", "—", "—", "does not run: no <b>kernel</b>")
    page = render_report(run)
    assert "tried on AMD EPYC" in page
    assert "<b>kernel" not in page


def test_one_form_that_passed() -> None:
    section = exports_section(make_run(exports={"fp16": Verification(passed=True)}))
    assert section is not None
    assert "1\N{NO-BREAK SPACE}other form of the model was exported, and proven on photos." in section.lead
    assert section.values["schemes"] == []


def test_other_runs_have_no_such_section() -> None:
    assert exports_section(make_run()) is None
