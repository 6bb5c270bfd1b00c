from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.run_folders import RunMaker

from classifier_training.pages.compare.compared_settings import Difference, differing_settings, differing_surroundings
from classifier_training.pages.read.run_data import RunData, read_run
from classifier_training.pages.wording import DASH


@pytest.fixture
def data(tmp_path: Path) -> RunData:
    return read_run(RunMaker(2, num_images=4).make(tmp_path / "run").root)


def with_config(data: RunData, **config: Any) -> RunData:
    return replace(data, config=config)


def test_only_what_differs_is_listed(data: RunData) -> None:
    runs = [
        with_config(data, seed=1, model={"name": "a", "drop_rate": 0.0}, run={"name": "x"}),
        with_config(data, seed=1, model={"name": "b", "drop_rate": 0.0}, run={"name": "y"}),
    ]

    assert differing_settings(runs) == [Difference("model.name", ["a", "b"], is_known_to_all=True)]
    assert differing_settings([runs[0]] * 3) == []


def test_a_setting_that_a_version_does_not_know_is_a_dash(data: RunData) -> None:
    runs = [with_config(data, model={"name": "a"}), with_config(data, model={"name": "a", "new": [1, None, "x"]})]

    assert differing_settings(runs) == [Difference("model.new", [DASH, '[1, null, "x"]'], is_known_to_all=False)]


def test_an_evaluation_differs_in_nothing(data: RunData) -> None:
    assert differing_settings([with_config(data, model={"name": "a"}), with_config(data)]) == []


def test_long_and_odd_values_are_one_short_line(data: RunData) -> None:
    runs = [with_config(data, model={"name": "a\n\x00" + "x" * 5000}), with_config(data, model={"name": "a"})]

    (difference,) = differing_settings(runs)
    first = difference.values[0]

    assert len(first) <= 200
    assert first.isprintable()


def test_versions_and_hardware_are_compared_too(data: RunData) -> None:
    other = replace(data, environment={**data.environment, "versions": {"torch": "9"}, "seed": 5})

    assert differing_surroundings([data, other]) == [
        Difference("versions.torch", ["2.9.0", "9"], is_known_to_all=True),
        Difference("versions.timm", ["1.0.20", DASH], is_known_to_all=False),
    ]
