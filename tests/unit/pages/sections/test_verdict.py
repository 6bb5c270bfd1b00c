from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.markup import read_markup
from tests.helpers.page_data import make_run, make_scored, make_verification

from classifier_training.pages.read.curves import Curves
from classifier_training.pages.read.run_data import OnnxFile, RunData
from classifier_training.pages.report import render_report
from classifier_training.pages.sections.verdict import run_facts, score_sentence, verdict_section
from classifier_training.run.model_info import ModelInfo
from classifier_training.run.verification import Verification

VERIFICATION = make_verification()


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def export_of(data: RunData) -> dict[str, Any]:
    export: dict[str, Any] = verdict_section(data).values["export"]
    return export


def test_the_score_has_its_interval() -> None:
    data = make_run(final=make_scored())

    assert (
        plain(score_sentence(data))
        == "of 200 test photos classified correctly. On similar photos, expect between 87 % and 95 %."
    )
    assert verdict_section(data).values["score"] == "92.5"


def test_a_score_may_have_no_interval() -> None:
    data = make_run(final=make_scored(((1, 0), (0, 0)), intervals={}))

    assert plain(score_sentence(data)) == "of 1 test photo classified correctly."


def test_while_training_the_score_is_that_of_an_epoch() -> None:
    validation = make_scored(split="val", epoch=1, intervals={})
    data = make_run(status="training", final=None, validation=validation)

    assert plain(score_sentence(data)) == "of 200 validation photos classified correctly after epoch 2."


def test_nothing_scored_is_not_a_score() -> None:
    data = make_run(status="training", final=None)
    values = verdict_section(data).values

    assert values["score"] is None
    assert values["sentence"] == "Nothing has been scored yet."
    assert values["scale"] is None


def test_top5_of_five_classes_says_nothing() -> None:
    few, many = (
        verdict_section(make_run(final=make_scored([[1] * num] * num, intervals={}))).values["others"] for num in (5, 6)
    )

    assert [one["name"] for one in few] == ["balanced accuracy", "macro F1"]
    assert [one["name"] for one in many] == ["top-5", "balanced accuracy", "macro F1"]


def test_an_unfinished_training_says_how_far_it_is() -> None:
    data = make_run(
        status="training",
        final=None,
        num_epochs=2,
        max_epochs=10,
        best_epoch=1,
        best_score=0.8,
        timings=Curves((0, 1), {"seconds": (50.0, 70.0)}),
    )
    progress = verdict_section(data).values["progress"]

    assert (progress["done"], progress["wanted"], progress["left"]) == (2, 10, "8 min 0 s")
    assert plain(progress["best"]) == "Best so far: top-1 80.0 % in epoch 2."
    assert verdict_section(make_run()).values["progress"] is None


def test_an_unfinished_run_shows_how_to_resume_it() -> None:
    command = "classifier-training train --resume '/runs/<b>'"
    data = make_run(status="training", num_epochs=2, max_epochs=3, commands={"resume": command})
    page = read_markup(render_report(data))

    assert page.only("p", "kind").text == "Not finished"
    assert page.all("title")[0].text == "run · Not finished"
    assert page.all("pre")[0].text == command
    assert "If it is not running any more, resume it with:" in page.with_id("verdict").text
    assert "2 of 3 epochs are done." in plain(page.with_id("verdict").text)


def test_the_methods_of_the_intervals_are_named() -> None:
    known = {"top1": (0.8, 0.9), "balanced_accuracy": (0.7, 0.9)}
    few, many, none = (
        verdict_section(make_run(final=make_scored([[1] * num] * num, intervals=intervals))).values["interval_hint"]
        for num, intervals in ((2, known), (6, {"top1": (0.8, 0.9)}), (2, {}))
    )

    assert plain(few) == "95 % confidence intervals: Wilson for top-1, bootstrap for balanced accuracy and macro F1."
    assert plain(many) == "95 % confidence intervals: Wilson for top-1 and top-5."
    assert none == ""


@pytest.mark.parametrize(
    ("verification", "is_verified", "state", "words"),
    [
        (VERIFICATION, True, "verified", "for 32 photos; the logits differ by at most 6.7 × 10⁻⁶ (0.001 is allowed)"),
        (VERIFICATION, False, "unverified", "the comparison was made with another file"),
        (None, False, "unverified", "verification.json is missing"),
        (make_verification(passed=False, sha256=None), False, "failed", "Do not use it"),
    ],
)
def test_the_export_shows_whether_it_is_verified(
    verification: Verification | None, is_verified: bool, state: str, words: str
) -> None:
    file = OnnxFile(Path("run/export/model.onnx"), 13_574_468, "b" * 64, is_verified)
    export = export_of(make_run(verification=verification, onnx=file))

    assert (export["name"], plain(export["size"]), export["sha256"]) == ("model.onnx", "13.6 MB", "b" * 64)
    assert export["state"] == state
    assert words in plain(export["text"])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"config": {"export": {"enabled": False}}}, "The export was switched off (export.enabled=false)."),
        ({"status": "training"}, "It is written when training is finished."),
        ({}, "There is no exported file."),
    ],
)
def test_no_export_has_a_reason(changes: dict[str, Any], text: str) -> None:
    assert export_of(make_run(**changes))["text"] == text


def test_an_evaluation_exports_nothing() -> None:
    assert verdict_section(make_run(status="evaluation")).values["export"] is None


def facts_of(data: RunData) -> dict[str, list[str]]:
    return {
        term: [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines] for term, lines in run_facts(data, data.final)
    }


@pytest.fixture
def winter_in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("winter_in_berlin")
def test_model_photos_training_and_weights() -> None:
    data = make_run(
        config={"model": {"name": "resnet18", "pretrained": True}, "data": {"root": "/photos/shirts"}},
        environment={
            "cpu": {"model": "a processor"},
            "gpus": ["NVIDIA H100", "NVIDIA H100"],
            "started": "2026-11-23T03:01:59+00:00",
        },
        model_info=ModelInfo(
            model="resnet18",
            input=(3, 224, 224),
            num_parameters=11_178_051,
            num_trainable_parameters=11_178_051,
            size_bytes=44_712_204,
            flops=None,
            latency=None,
        ),
    )

    assert facts_of(data) == {
        "Model": ["resnet18", "11.2 million parameters, from pretrained weights"],
        "Photos": ["shirts", "2 classes", "/photos/shirts"],
        "Training": ["3 epochs", "1 min 1 s on 2 × NVIDIA H100", "2026-11-23 04:01 UTC+01:00"],
        "Weights scored": ["epoch 3 of 3", "checkpoints/best.ckpt"],
    }


@pytest.mark.parametrize(
    ("model", "start"),
    [({"name": "x", "weights": "a.safetensors"}, "from pretrained weights"), ({"name": "x"}, "from scratch")],
)
def test_where_the_weights_came_from(model: dict[str, Any], start: str) -> None:
    assert facts_of(make_run(config={"model": model}))["Model"] == ["x", start]


@pytest.mark.parametrize(
    ("weights", "start"),
    [
        ({"source": "hub", "name": "timm/resnet18.a1_in1k"}, "from pretrained weights: timm/resnet18.a1_in1k"),
        ({"source": "missing", "name": None}, "from scratch, as no pretrained weights were found"),
        ({"source": "file", "name": "/home/me/w.pth"}, "from pretrained weights"),
        ({"source": "none", "name": None}, "from pretrained weights"),
    ],
)
def test_the_record_of_the_weights_is_shown(weights: dict[str, Any], start: str) -> None:
    data = make_run(config={"model": {"name": "x", "pretrained": True}}, environment={"weights": weights})
    assert facts_of(data)["Model"] == ["x", start]


def test_weights_of_an_unfinished_run_are_counted_by_the_epochs_that_are_wanted() -> None:
    assert facts_of(make_run(status="training", num_epochs=3, max_epochs=9))["Weights scored"][0] == "epoch 3 of 9"
    assert facts_of(make_run(num_epochs=3, max_epochs=9))["Weights scored"][0] == "epoch 3 of 3"


@pytest.mark.parametrize("started", ["0001-01-01T00:00:00+14:00", "soon", None])
def test_a_time_that_is_none_is_left_out(started: Any) -> None:
    assert facts_of(make_run(environment={"started": started}))["Training"] == ["3 epochs", "1 min 1 s"]


def test_an_evaluation_says_what_was_scored() -> None:
    data = make_run(status="evaluation", final=make_scored(description="/photos/new", epoch=None, model="model.onnx"))

    assert facts_of(data) == {"Model": ["model.onnx"], "Photos": ["/photos/new", "200 photos"]}


@pytest.mark.parametrize("foreign", ["text", 3, ["a"], None, {"model": {"name": []}}])
def test_foreign_values_break_nothing(foreign: Any) -> None:
    data = make_run(config={"model": foreign, "data": foreign}, environment={"cpu": foreign, "gpus": foreign})

    assert "Training" in facts_of(data)
