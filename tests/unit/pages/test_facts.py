from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.helpers.page_data import make_run, make_scored

from classifier_training.pages.facts import run_facts
from classifier_training.pages.read.run_data import RunData
from classifier_training.run.model_info import ModelInfo


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
