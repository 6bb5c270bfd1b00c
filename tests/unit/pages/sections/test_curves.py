from __future__ import annotations

import json
from typing import Any

from tests.helpers.markup import read_markup
from tests.helpers.page_data import make_run

from classifier_training.pages.read.curves import Curves
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.sections.curves import curves_section

EPOCHS = (0, 1, 2, 3, 4)


def make(**changes: Any) -> RunData:
    metrics = {
        "step": (1.0, 2.0, 3.0, 4.0, 5.0),
        "train/loss": (2.0, 1.0, 0.8, 0.6, 0.5),
        "val/loss": (2.0, 1.0, None, 1.2, 1.3),
        "val/top1": (0.5, 0.7, 0.6, 0.8, 0.75),
        "lr": (1e-3,) * 5,
        "mine": (1.0, None, None, None, None),
    }
    values: dict[str, Any] = {
        "metrics": Curves(EPOCHS, metrics),
        "timings": Curves((1, 2), {"seconds": (9.0, 9.0), "images_per_second": (80.0, 90.0)}),
        "num_epochs": 5,
        "best_epoch": 3,
        "best_score": 0.8,
    }
    return make_run(**(values | changes))


def lead(data: RunData) -> str:
    return curves_section(data).lead.replace("\N{NO-BREAK SPACE}", " ")


def test_the_best_epoch_is_counted_from_one() -> None:
    assert lead(make()).startswith("Epoch 4 of 5 was the best, with a top-1 of 80.0 % on the validation photos.")
    assert lead(make(status="training")).startswith("Epoch 4 of 5 is the best so far")


def test_an_unfinished_run_has_as_many_epochs_as_are_wanted() -> None:
    assert lead(make(status="training", max_epochs=9)).startswith("Epoch 4 of 9 is the best so far")
    assert lead(make(max_epochs=9)).startswith("Epoch 4 of 5 was the best")


def test_a_hint_explains_why_the_losses_differ() -> None:
    assert "lower than the training loss" in curves_section(make()).values["hint"]
    assert curves_section(make(metrics=Curves((0,), {"val/loss": (1.0,)}))).values["hint"] == ""


def test_a_loss_that_rises_again_is_reported() -> None:
    assert "has risen by 30 % since epoch 2" in lead(make())


def test_a_best_epoch_that_is_the_last_says_to_train_longer() -> None:
    assert lead(make(best_epoch=4)).endswith("It was also the last one, so training longer may still help.")
    assert "longer" not in lead(make(best_epoch=4, status="training"))


def test_another_monitored_metric_is_named() -> None:
    assert "with a validation loss of 1 on" in lead(make(monitor="val/loss", best_epoch=1, best_score=1.0))


def test_four_charts_go_together_and_every_epoch_says_all_of_it() -> None:
    charts = curves_section(make()).values["charts"]

    assert [chart["title"] for chart in charts] == [
        "Loss",
        "Accuracy on validation photos",
        "Learning rate",
        "Training images per second",
    ]
    drawn = [read_markup(chart["svg"]).only("div") for chart in charts]
    assert {one.attributes["data-group"] for one in drawn} == {"epochs"}
    texts = [text for _, text in json.loads(drawn[0].attributes["data-hits"])]
    assert len(texts) == 5
    assert texts[3].startswith("Epoch 4 · best\ntraining loss\t0.6\nvalidation loss\t1.2\ntop-1\t80.0")
    assert "images per second\t80" in texts[1]
    assert "validation loss\t—" in texts[2]


def test_the_table_holds_every_metric_but_the_step() -> None:
    values = curves_section(make()).values

    assert values["names"] == [
        "training loss",
        "validation loss",
        "top-1",
        "learning rate",
        "mine",
        "images per second",
        "seconds",
    ]
    assert [(epoch, is_best) for epoch, is_best, _ in values["rows"]] == [
        (1, False),
        (2, False),
        (3, False),
        (4, True),
        (5, False),
    ]
    assert values["rows"][2][2][1] == "—"


def test_a_metric_that_was_never_known_is_left_out() -> None:
    section = curves_section(make(metrics=Curves((0,), {"val/top1": (None,), "lr": (0.1,)}), timings=Curves()))

    assert [chart["title"] for chart in section.values["charts"]] == ["Learning rate"]


def test_before_the_first_epoch_there_is_nothing() -> None:
    assert curves_section(make_run(status="training")).empty == "No epoch is finished yet."


def test_without_a_validation_no_epoch_is_the_best() -> None:
    data = make(best_epoch=None, best_score=None, metrics=Curves((0,), {"train/loss": (1.0,)}))

    assert lead(data) == "1 epoch done; no validation yet."


def test_the_forecast_of_a_training_with_a_time_limit_stands_beside_what_came() -> None:
    forecast = {"forecast": (0.82, 0.81), "forecast_low": (0.7, 0.78), "forecast_high": (0.9, 0.84)}
    values = curves_section(make(timings=Curves((3, 4), {"seconds": (9.0, 9.0), **forecast}))).values
    assert values["names"][-3:] == ["forecast of the best top-1", "at least", "at most"]
    shown = ["82.0 %", "70.0 %", "90.0 %"]
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in values["rows"][3][2][-3:]] == shown
