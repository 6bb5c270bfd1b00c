from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.helpers.photos import make_split_photos

from classifier_training.config import load_config
from classifier_training.config.arguments import read_overrides
from classifier_training.config.schema import RecipeConfig
from classifier_training.errors import ConfigError
from classifier_training.evaluation.settings import scoring_settings
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.batch_size import REASON, decide_batch_size
from classifier_training.training.plan import Plan, describe_plan, make_plan


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_split_photos(tmp_path_factory.mktemp("photos"), train=3, val=2, test=1)


def plan_of(photos: Path, *overrides: str) -> Plan:
    words = [f"data.root={photos}", "model.name=test_resnet", "trainer.accelerator=cpu", "data.batch_size=auto"]
    terminal = Terminal(quiet=True)
    return decide_batch_size(make_plan(load_config([*words, *overrides]), terminal), terminal)


@pytest.mark.parametrize(
    ("settings", "learning_rate"),
    [
        ([], "0.001, not scaled to these batches, as optimizer.lr_base_batch_size is not set"),
        (
            ["optimizer.lr_base_batch_size=8"],
            "0.001, not scaled to these batches, as it is meant for 8 images in a step",
        ),
        (["optimizer.lr_base_batch_size=16"], "0.0005 for 8 images a step: 0.001 for 16, scaled in proportion"),
        (["optimizer.lr=find"], "by a range test with these batches"),
    ],
)
def test_few_images_get_the_smallest_batch_and_the_plan_tells_the_learning_rate(
    photos: Path, settings: list[str], learning_rate: str
) -> None:
    plan = plan_of(photos, "model.pretrained=false", "recipe.name=scratch", *settings)

    assert plan.config.data.batch_size == 8
    assert plan.reasons[REASON] == "8 images: with more than 8, an epoch would have fewer than 20 steps"
    assert plan.lr_scaling == learning_rate


def test_a_probe_computes_its_features_in_batches_of_the_usual_size(photos: Path) -> None:
    terminal = Terminal(quiet=True)
    settings = load_config(
        [f"data.root={photos}", "model.name=test_resnet", "trainer.accelerator=cpu", "model.pretrained=false"]
    )
    plan = make_plan(settings, terminal)
    update = {"data": plan.config.data.model_copy(update={"batch_size": "auto"}), "recipe": RecipeConfig(name="probe")}
    plan = decide_batch_size(replace(plan, config=plan.config.model_copy(update=update)), terminal)

    assert plan.config.data.batch_size == 32
    assert plan.reasons[REASON] == "32 images: of a probe, only features are computed"
    assert plan.lr_scaling is None


def test_evaluations_take_the_usual_number_and_nobody_else_takes_one_that_was_not_measured() -> None:
    settings = scoring_settings(None, read_overrides("data.batch_size=auto"), is_onnx=False)
    assert settings is not None
    assert settings.data.batch_size == 32
    with pytest.raises(ConfigError, match=r"data\.batch_size=auto: it is measured by train alone; give a number here"):
        _ = load_config(["data.batch_size=auto"]).data.images_per_batch


def test_a_further_process_of_a_launcher_plans_before_it_knows_the_size(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"data.root={photos}", "model.name=test_resnet", "model.pretrained=false", "data.batch_size=auto"]
    silent = Terminal(silent=True)
    plan = make_plan(load_config([*words, "trainer.accelerator=cpu"]), silent)
    monkeypatch.setenv("LOCAL_RANK", "1")
    decided = decide_batch_size(plan, silent)
    describe_plan(decided, silent)

    assert decided.config.data.batch_size == "auto"
