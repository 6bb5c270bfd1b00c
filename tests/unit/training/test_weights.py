from __future__ import annotations

import json
from pathlib import Path

import pytest

from classifier_training.run.folder import RunFolder
from classifier_training.training.weights import scratch_note


@pytest.mark.parametrize(
    ("environment", "note"),
    [
        ({"weights": {"source": "missing"}}, ", from scratch as no pretrained weights were found"),
        ({"weights": {"source": "none"}}, ""),
        ({"weights": {"source": "hub"}}, ""),
        ({"weights": None}, ""),
        ({}, ""),
    ],
)
def test_the_result_says_that_no_weights_were_to_be_had(
    environment: dict[str, object], note: str, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path)
    run.environment.write_text(json.dumps(environment))
    assert scratch_note(run) == note
