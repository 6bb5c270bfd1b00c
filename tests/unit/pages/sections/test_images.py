from __future__ import annotations

from tests.helpers.page_data import make_picture, make_run, make_scored

from classifier_training.pages.sections.images import images_section

UNSURE = frozenset({"least_certain"})


def test_worst_errors_by_loss_and_least_certain_by_confidence() -> None:
    scored = make_scored(
        images=(
            make_picture(index=1, loss=2.0),
            make_picture(index=2, loss=None, why=frozenset({"worst", "least_certain"}), confidence=0.4),
            make_picture(index=3, loss=3.0),
            make_picture(index=4, why=UNSURE, confidence=0.3),
            make_picture(index=5, why=frozenset({"cell"})),
        )
    )
    values = images_section(make_run(final=scored)).values

    assert [image.index for image in values["worst"]] == [2, 3, 1]
    assert [image.index for image in values["unsure"]] == [4, 2]
    assert values["repeated"] == {2}
    assert values["has_cams"] is False


def test_the_lead_counts_the_errors() -> None:
    errors = make_scored(images=(make_picture(index=1), make_picture(index=2)))
    unsure = make_scored(images=(make_picture(why=UNSURE),))

    assert images_section(make_run(final=errors)).lead.startswith(
        "The 2\N{NO-BREAK SPACE}errors with the highest loss, where the true class got the least probability."
    )
    assert images_section(make_run(final=unsure)).lead.startswith("No error is among the photos kept")


def test_pictures_of_the_validation_are_better_than_none_and_are_said_to_be_so() -> None:
    validation = make_scored(split="val", epoch=4, images=(make_picture(),))
    section = images_section(make_run(final=make_scored(), validation=validation))

    assert section.lead.startswith("These are validation photos after epoch 5; of the final pass no images were kept.")
    assert len(section.values["worst"]) == 1


def test_no_picture_has_a_reason() -> None:
    assert images_section(make_run(final=None)).empty == "Nothing has been scored yet."
    assert images_section(make_run()).empty == "No images were kept of this pass (report.num_pictures)."
    running = make_run(status="training", final=None, validation=make_scored())
    assert images_section(running).empty == "The images follow when training is finished."


def test_pictures_of_another_epoch_are_shown_while_a_run_is_trained_and_not_after_it() -> None:
    older = make_scored(epoch=4, images=(make_picture(),), examples_epoch=1)
    running = images_section(make_run(status="training", final=None, validation=older))

    assert running.lead.startswith("These were chosen after epoch 2, the scores are of epoch 5: images wait")
    assert len(running.values["worst"]) == 1
    assert images_section(make_run(final=older)).empty
