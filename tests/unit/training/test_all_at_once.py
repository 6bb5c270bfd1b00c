from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.config import load_config
from classifier_training.errors import ConfigError, DataError, ModelError
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.all_at_once import check_all
from classifier_training.training.plan import make_plan


def fail(error: Exception) -> None:
    raise error


def test_one_fault_stays_as_it_is() -> None:
    with pytest.raises(ModelError, match=r"^a$"):
        check_all([lambda: None, lambda: fail(ModelError("a")), lambda: 3])


def test_several_faults_are_one_answer_without_repeats() -> None:
    with pytest.raises(ConfigError, match=r"^a\nb$"):
        check_all([lambda: fail(ModelError("a")), lambda: fail(ConfigError("b")), lambda: fail(ConfigError("a"))])


def test_any_other_fault_is_raised_at_once() -> None:
    with pytest.raises(DataError, match=r"^a$"):
        check_all([lambda: fail(DataError("a")), lambda: fail(ConfigError("b"))])


def test_names_and_the_device_are_checked_together(tmp_path: Path) -> None:
    settings = ["model.name=resnet19", "optimizer.name=lamp", "trainer.accelerator=mps", "optimizer.lr=0.1"]
    with pytest.raises(ConfigError) as refused:
        make_plan(load_config([*settings, f"data.root={tmp_path}"]), Terminal(quiet=True))
    starts = [line.split(" ")[0] for line in str(refused.value).splitlines()]
    assert starts == ["model.name='resnet19'", "trainer.accelerator=mps:", "optimizer.name='lamp'"]
