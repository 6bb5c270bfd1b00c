from __future__ import annotations

from tests.helpers.page_data import make_example, make_run, make_scored

from classifier_training.pages.sections.images import images_section

UNSURE = frozenset({"least_certain"})


def test_worst_errors_by_loss_and_least_certain_by_confidence() -> None:
    scored = make_scored(
        images=(
            make_example(index=1, loss=2.0),
            make_example(index=2, loss=None, why=frozenset({"worst", "least_certain"}), confidence=0.4),
            make_example(index=3, loss=3.0),
            make_example(index=4, why=UNSURE, confidence=0.3),
            make_example(index=5, why=frozenset({"cell"})),
        )
    )
    values = images_section(make_run(final=scored)).values

    assert [image.index for image in values["worst"]] == [2, 3, 1]
    assert [image.index for image in values["unsure"]] == [4, 2]
    assert values["repeated"] == {2}
    assert values["has_cams"] is False


def test_the_lead_counts_the_errors() -> None:
    errors = make_scored(images=(make_example(index=1), make_example(index=2)))
    unsure = make_scored(images=(make_example(why=UNSURE),))

    assert images_section(make_run(final=errors)).lead.startswith(
        "The 2\N{NO-BREAK SPACE}errors with the highest loss, where the true class got the lowest probability."
    )
    assert images_section(make_run(final=unsure)).lead.startswith("None of the photos kept is misclassified; below: 1")


def test_validation_images_are_shown_where_the_final_scores_have_none() -> None:
    validation = make_scored(split="val", epoch=4, images=(make_example(),))
    section = images_section(make_run(final=make_scored(), validation=validation))

    assert section.lead.startswith(
        "These are validation photos after epoch 5; no photos of the final scores were kept."
    )
    assert len(section.values["worst"]) == 1


def test_a_section_without_images_has_a_reason() -> None:
    assert images_section(make_run(final=None)).empty == "Nothing has been scored yet."
    assert images_section(make_run()).empty == "No photos were kept (report.num_pictures)."
    running = make_run(status="training", final=None, validation=make_scored())
    assert images_section(running).empty == "The photos are added when training is finished."


def test_images_of_another_epoch_are_shown_only_while_training_runs() -> None:
    older = make_scored(epoch=4, images=(make_example(),), examples_epoch=1)
    running = images_section(make_run(status="training", final=None, validation=older))

    assert running.lead.startswith("These photos are of epoch 2, the scores of epoch 5: photos are updated")
    assert len(running.values["worst"]) == 1
    assert images_section(make_run(final=older)).empty
