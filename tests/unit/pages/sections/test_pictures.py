from __future__ import annotations

from tests.helpers.page_data import make_picture, make_run, make_scored

from classifier_training.pages.sections.pictures import pictures_section

UNSURE = frozenset({"least_certain"})


def test_worst_errors_by_loss_and_least_certain_by_confidence() -> None:
    scored = make_scored(
        pictures=(
            make_picture(index=1, loss=2.0),
            make_picture(index=2, loss=None, why=frozenset({"worst", "least_certain"}), confidence=0.4),
            make_picture(index=3, loss=3.0),
            make_picture(index=4, why=UNSURE, confidence=0.3),
            make_picture(index=5, why=frozenset({"cell"})),
        )
    )
    values = pictures_section(make_run(final=scored)).values

    assert [picture.index for picture in values["worst"]] == [2, 3, 1]
    assert [picture.index for picture in values["unsure"]] == [4, 2]
    assert values["repeated"] == {2}
    assert values["has_cams"] is False


def test_the_lead_counts_the_errors() -> None:
    errors = make_scored(pictures=(make_picture(index=1), make_picture(index=2)))
    unsure = make_scored(pictures=(make_picture(why=UNSURE),))

    assert pictures_section(make_run(final=errors)).lead.startswith(
        "The 2\N{NO-BREAK SPACE}errors with the highest loss, where the true class got the least probability."
    )
    assert pictures_section(make_run(final=unsure)).lead.startswith("No error is among the photos kept")


def test_pictures_of_the_validation_are_better_than_none_and_are_said_to_be_so() -> None:
    validation = make_scored(split="val", epoch=4, pictures=(make_picture(),))
    section = pictures_section(make_run(final=make_scored(), validation=validation))

    assert section.lead.startswith(
        "These are validation photos after epoch 5; of the final pass no pictures were kept."
    )
    assert len(section.values["worst"]) == 1


def test_no_picture_has_a_reason() -> None:
    assert pictures_section(make_run(final=None)).empty == "Nothing has been scored yet."
    assert pictures_section(make_run()).empty == "No pictures were kept of this pass (report.num_pictures)."
    running = make_run(status="training", final=None, validation=make_scored())
    assert pictures_section(running).empty == "The pictures follow when training is finished."


def test_pictures_of_another_epoch_are_shown_while_a_run_is_trained_and_not_after_it() -> None:
    older = make_scored(epoch=4, pictures=(make_picture(),), pictures_epoch=1)
    running = pictures_section(make_run(status="training", final=None, validation=older))

    assert running.lead.startswith("These were chosen after epoch 2, the scores are of epoch 5: pictures wait")
    assert len(running.values["worst"]) == 1
    assert pictures_section(make_run(final=older)).empty
