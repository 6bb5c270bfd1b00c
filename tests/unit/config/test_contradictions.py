"""What contradicts each other over the sections: all of it in one answer, with what is wrong within a section."""

from __future__ import annotations

import pytest

from classifier_training.config import load_config
from classifier_training.config.training import load_training
from classifier_training.errors import ConfigError


def refused(*settings: str, is_new: bool = True) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_training(settings, is_new=is_new)
    return str(error.value).splitlines()


def test_all_of_them_are_named_at_once() -> None:
    lines = refused(
        "recipe=probe",
        "model.pretrained=false",
        "data.mixup=0.2",
        "ema.decay=0.9",
        "checkpoint.choose_final=true",
        "distill.teacher=runs/a",
        "data.val_fraction=0.6",
        "data.test_fraction=0.6",
        "optimizer.lr=-1",
        "optimizer.ls=1",
    )
    begins = [line.partition(" (")[0] for line in lines]
    assert begins == [
        "optimizer.ls=1",
        "optimizer.lr=-1",
        "data.val_fraction=0.6",
        "recipe.name=probe",
        "distill.teacher=runs/a",
        "data.mixup=0.2",
        "ema.decay=0.9",
        "checkpoint.choose_final=true",
    ]


SCRATCH = "recipe.name=scratch (preset recipe=scratch)"
EACH = {
    "recipe=scratch model.pretrained=true": (f"{SCRATCH}, model.pretrained=true (argument): recipe=scratch trains", ""),
    "recipe=scratch model.freeze_epochs=3": (f"model.freeze_epochs=3 (argument), {SCRATCH}: random weights", ""),
    "scheduler.warmup_epochs=5 trainer.max_epochs=5": (
        "scheduler.warmup_epochs=5 (argument), trainer.max_epochs=5 (argument): scheduler.warmup_epochs=5 is as long",
        "never reach its peak; lower scheduler.warmup_epochs below 5, or raise trainer.max_epochs",
    ),
    "optimizer.sam_rho=0.1 trainer.precision=16-mixed": (
        "optimizer.sam_rho=0.1 (argument), trainer.precision=16-mixed (argument): gradients",
        "use trainer.precision=bf16-mixed or 32-true",
    ),
    "trainer.accelerator=cpu trainer.precision=16-mixed": (
        "trainer.precision=16-mixed (argument), trainer.accelerator=cpu (argument): trainer.precision=16-mixed",
        "a CPU takes bf16-mixed or 32-true",
    ),
}


@pytest.mark.parametrize("settings", EACH)
def test_each_is_one_line(settings: str) -> None:
    (line,) = refused(*settings.split())
    start, end = EACH[settings]
    assert line.startswith(start)
    assert line.endswith(end or "leave one of them out")
    assert load_config(settings.split())  # settings of an earlier run can always be read


def test_a_faulty_setting_contradicts_no_other() -> None:
    assert [line[:9] for line in refused("ema.enabled=maybe", "ema.decay=0.9", "recipe=scratch")] == ["ema.enabl"]


def test_a_run_that_has_begun_goes_on_with_its_settings() -> None:
    settings = ["scheduler.warmup_epochs=5", "trainer.max_epochs=5"]
    assert load_training(settings, is_new=False)[0] == load_config(settings)
    assert len(refused(*settings, "ema.enabled=false", "ema.decay=0.9", is_new=False)) == 1
