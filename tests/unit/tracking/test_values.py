from __future__ import annotations

import json

from tests.helpers.tracking import RESULTS

from classifier_training.config.schema import Config
from classifier_training.tracking.values import final_scores, tracked_settings


def test_every_setting_has_its_dotted_name() -> None:
    config = Config.model_validate({"optimizer": {"lr": 0.02}})
    settings = tracked_settings(config.model_dump(mode="json"))
    assert settings["seed"] == 0
    assert settings["optimizer.lr"] == 0.02
    assert settings["model.channels_last"] is True
    assert settings["model.weights"] == "null"
    assert settings["data.train_scale"] == "[0.35, 1.0]"
    assert not [name for name in settings if name.count(".") > 1]


def test_class_names_are_text_and_not_names_of_settings() -> None:
    weights = {"a.b/<script>": 1.0, "\udcff": 2.0, "ж": 3.0}
    settings = tracked_settings({"data": {"class_weights": weights, "root": "photos/\udcff"}})
    assert settings["data.root"] == "photos/\\udcff"
    written = settings["data.class_weights"]
    assert isinstance(written, str)
    written.encode("utf-8")
    assert list(json.loads(written)) == ["a.b/<script>", "\udcff", "ж"]


def test_a_password_is_left_out() -> None:
    assert tracked_settings({"tracking": {"mlflow_uri": "http://me:secret@host"}}) == {
        "tracking.mlflow_uri": "http://host"
    }


def test_scores_are_the_numbers_of_the_result() -> None:
    assert final_scores(RESULTS) == {
        "best/epoch": 1.0,
        "best/val/top1": 0.5,
        "test/num_images": 8.0,
        "test/top1": 0.75,
    }


def test_without_a_test_split_the_scores_are_those_of_the_best_epoch() -> None:
    scores = final_scores({"best": {"epoch": 1, "val/top1": 0.5}, "val": {"top1": 0.5, "top5": 1, "macro_f1": None}})
    assert scores == {"best/epoch": 1.0, "best/val/top1": 0.5, "best/val/top5": 1.0}
