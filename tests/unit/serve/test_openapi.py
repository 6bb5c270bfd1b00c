"""Requests that are made up from the OpenAPI page get the answers that it describes."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.helpers.serving import make_served

from classifier_training.serve.app import create_app
from classifier_training.serve.model import ServedModel
from classifier_training.serve.service import Service
from classifier_training.serve.settings import ServeSettings


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The page of an application that is ready."""
    path = make_served(tmp_path_factory.mktemp("described") / "model.onnx")
    service = Service(ServedModel(path, 10**6, 1), ServeSettings(max_mb=0.1))
    asyncio.run(service.prove())
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(service, "shirts"))


def test_made_up_requests_get_described_answers(described: Any) -> None:
    checks = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
    answered = Counter[int]()

    for operation in described.get_all_operations():

        @given(case=operation.ok().as_strategy())
        @settings(
            max_examples=12,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: schemathesis.Case[Any]) -> None:
            answer = case.call()
            case.validate_response(answer, checks=checks)
            answered[answer.status_code] += 1

        ask()

    assert {200, 400, 404, 422} <= set(answered)


def test_the_page_names_every_endpoint(described: Any) -> None:
    assert set(described.raw_schema["paths"]) == {
        "/predict",
        "/model",
        "/metrics",
        "/healthz",
        "/readyz",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/{model}",
        "/v2/models/{model}/ready",
        "/v2/models/{model}/infer",
        "/v2/models/{model}/versions/{version}/infer",
    }
