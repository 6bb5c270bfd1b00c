from __future__ import annotations

from typing import Any, cast

import pytest
from tests.helpers.training import make_config

from classifier_training.errors import ConfigError
from classifier_training.training.teacher import find_teacher


def test_nobody_teaches_where_no_teacher_is_set() -> None:
    assert find_teacher(make_config(), cast("Any", None)) is None


def test_a_probe_has_no_steps_to_be_taught_in() -> None:
    config = make_config(distill={"teacher": "runs/a"}, recipe={"name": "probe"})
    with pytest.raises(ConfigError, match=r"^distill\.teacher=runs/a, recipe\.name=probe: .*use recipe=finetune"):
        find_teacher(config, cast("Any", None))
