"""The table of settings that do nothing because of others: each of its rules, refused where it was typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.config import load_config
from classifier_training.config.flatten import flat_settings
from classifier_training.config.idle import IDLE, idle_settings
from classifier_training.config.options import option_table
from classifier_training.config.preset_groups import PRESET_GROUPS, preset_names
from classifier_training.config.training import load_training
from classifier_training.errors import ConfigError

CASES = [  # what does nothing, because of what, and what it does something with
    ("data.mix_prob=0.5", "recipe=scratch", "data.mixup=0.2"),
    ("data.mix_off_epochs=2", "recipe=scratch", "data.cutmix=1"),
    ("data.mix_switch_prob=0.3", "data.mixup=0.2 data.cutmix=0", "data.cutmix=1"),
    ("data.mixup=0.2", "data.mix_prob=0", "data.mix_prob=0.1"),
    ("data.mixup=0.2", "data.batch_size=1", "data.batch_size=2"),
    ("data.mixup=0.4", "data.cutmix=1 data.mix_switch_prob=1", "data.mix_switch_prob=0.6"),
    ("data.cutmix=0.9", "data.mixup=0.2 data.mix_switch_prob=0", "data.mix_switch_prob=0.6"),
    ("data.cutmix=0.9", "data.mix_off_epochs=3 trainer.max_epochs=3", "trainer.max_epochs=4"),
    ("data.mixup=0.2", "data.final_epochs_at_test_size=2 data.test_image_size=64 trainer.max_epochs=2",
     "trainer.max_epochs=3"),
    ("data.progressive_until=0.5", "recipe=scratch", "data.progressive_size=0.5"),
    ("data.progressive_size=0.5", "data.progressive_until=0", "data.progressive_until=0.1"),
    ("data.progressive_size=0.5", "trainer.max_epochs=2 data.final_epochs_at_test_size=2 data.test_image_size=64",
     "trainer.max_epochs=3"),
    ("data.balance_weighting=inverse_sqrt", "data.balance=logit_adjustment", "data.balance=sampler"),
    ("data.balance_beta=0.9", "data.balance=sampler", "data.balance_weighting=effective_number"),
    ("data.max_bad_fraction=0.1", "seed=0", "data.on_bad_image=skip"),
    ("data.on_group_overlap=warn", "seed=0", "data.group_column=patient"),
    ("data.cache_limit=1GB", "data.cache=none", "data.cache=memory"),
    ("recipe.start_from_probe=true", "recipe=scratch", "recipe=finetune"),
    ("recipe.probe_views=2", "recipe=finetune recipe.start_from_probe=false", "recipe.start_from_probe=true"),
    ("distill.weight=0.3", "seed=0", "distill.teacher=runs/a"),
    ("distill.temperature=3", "seed=0", "distill.teacher=runs/a"),
    ("loss.label_smoothing=0.2", "distill.teacher=runs/a distill.weight=1", "distill.weight=0.9"),
    ("data.balance=loss_weights", "distill.teacher=runs/a distill.weight=1", "distill.weight=0.9"),
    ("loss.focal_gamma=1", "loss.name=bce", "loss.name=focal"),
    ("loss.asymmetric_gamma_positive=1", "seed=0", "loss.name=asymmetric"),
    ("loss.asymmetric_gamma_negative=2", "loss.name=asymmetric loss.label_smoothing=0", "loss.label_smoothing=0.1"),
    ("loss.poly_epsilon=2", "loss.name=focal", "loss.name=poly1"),
    ("optimizer.layer_decay=0.8", "trainer.max_epochs=2 model.freeze_epochs=2", "model.freeze_epochs=1"),
    ("model.freeze_stages=2", "trainer.max_epochs=2 model.freeze_epochs=2", "model.freeze_epochs=1"),
    ("optimizer.lr_scaling=sqrt", "seed=0", "optimizer.lr_base_batch_size=256"),
    ("scheduler.min_lr_ratio=0.1", "scheduler.name=constant", "scheduler.name=linear"),
    ("scheduler.rise=0.2", "seed=0", "scheduler.name=one_cycle"),
    ("scheduler.milestones=[0.3]", "scheduler.name=poly", "scheduler.name=step"),
    ("scheduler.gamma=0.5", "seed=0", "scheduler.name=plateau"),
    ("scheduler.power=2", "scheduler.name=step", "scheduler.name=poly"),
    ("scheduler.num_cycles=2", "seed=0", "scheduler.name=cosine_restarts"),
    ("scheduler.cycle_growth=2", "scheduler.name=cosine_restarts scheduler.num_cycles=1", "scheduler.num_cycles=2"),
    ("scheduler.plateau_patience=2", "scheduler.name=step", "scheduler.name=plateau"),
    ("trainer.default_epochs=5", "trainer.max_epochs=4", "trainer.max_epochs=null"),
    ("trainer.gradient_clip_algorithm=value", "trainer.gradient_clip_val=0", "trainer.gradient_clip_val=1"),
    ("ema.decay=0.9", "ema.enabled=false", "ema.enabled=true"),
    ("ema.warmup_steps=9", "ema.enabled=false", "ema.enabled=true"),
    ("report.max_repeats=3", "report.enabled=false", "report.enabled=true"),
    ("tracking.wandb_mode=offline", "seed=0", "tracking.wandb=true"),
    ("tracking.mlflow_uri=http://host", "seed=0", "tracking.mlflow=true"),
    ("tracking.project=leaves", "seed=0", "tracking.mlflow=true"),
    ("tracking.timeout_seconds=3", "tracking.tensorboard=false", "tracking.tensorboard=true"),
]  # fmt: skip


@pytest.mark.parametrize(("idle", "because", "used"), CASES, ids=[f"{idle}, {because}" for idle, because, _ in CASES])
def test_what_was_typed_and_does_nothing_is_refused_in_a_line(idle: str, because: str, used: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load_training([*because.split(), idle])
    lines = str(refused.value).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{idle} (argument), ")
    assert ": " in lines[0].partition(" (argument), ")[2]
    assert load_training([*because.split(), idle, *used.split()])[1] == {}


def test_the_cases_above_go_through_the_table() -> None:
    found = {rule for idle, because, _ in CASES for _, rule in idle_settings(load_config([*because.split(), idle]))}
    assert found == set(IDLE)


def test_the_table_names_settings_that_there_are() -> None:
    assert {key for rule in IDLE for key in (*rule.keys, *rule.because_of)} <= option_table().keys()


@pytest.mark.parametrize("group", PRESET_GROUPS)
def test_a_preset_refuses_nothing(group: str) -> None:
    for name in preset_names(group):
        assert load_training([f"{group}={name}"])[1] == {}
        settings = [f"{group}={name}", "ema.enabled=false", "data.mix_prob=0", "trainer.max_epochs=3"]
        if name != "probe":
            assert load_training(settings)[1] == {}


def test_a_value_that_is_the_default_is_no_mistake() -> None:
    assert load_training(["recipe=scratch", "ema.enabled=false", "ema.decay=0.9999", "data.mix_prob=1"])[1] == {}


def test_a_file_may_serve_several_trainings(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text("scheduler:\n  gamma: 0.3\nema: {enabled: false}\n")
    _, notes = load_training(["optimizer.lr=0.1"], file=file)
    assert [*notes] == ["scheduler.gamma"]
    assert notes["scheduler.gamma"].startswith(f"scheduler.gamma=0.3 ({file}:2), scheduler.name=cosine (default): ")
    assert load_training(["scheduler.name=step"], file=file)[1] == {}


def test_the_settings_of_a_run_were_not_typed(tmp_path: Path) -> None:
    from classifier_training.config import to_yaml

    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(load_config(["recipe=finetune", "scheduler.gamma=0.3"])))
    assert load_training(["ema.enabled=false"], file=file)[1] == {}
    assert len(flat_settings(load_config(file=file).model_dump())) == len(option_table())


def test_what_does_nothing_because_of_what_was_chosen_is_warned_of() -> None:
    typed = ["data.mix_prob=0.5", "trainer.time_limit=60"]
    assert load_training(typed)[1] == {}
    assert load_training(typed, chosen={"recipe": "finetune"})[1] == {}
    assert [*load_training(typed, chosen={"recipe": "scratch"})[1]] == ["data.mix_prob"]
    (line,) = load_training(typed, chosen={"recipe": "probe"})[1].values()
    assert line.startswith("data.mix_prob=0.5 (argument): does nothing with recipe=probe")
