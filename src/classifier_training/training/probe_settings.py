"""The settings of a linear probe: those that it has, and those that would do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from classifier_training.config.flatten import flat_settings
from classifier_training.config.options import show_value
from classifier_training.config.overrides import Overrides
from classifier_training.config.schema import (
    Config,
    DataConfig,
    DistillConfig,
    EMAConfig,
    LossConfig,
    OptimizerConfig,
    SchedulerConfig,
    TrainerConfig,
)
from classifier_training.config.sections.augmentation import AugmentationConfig
from classifier_training.config.sections.mixing import MixingConfig
from classifier_training.errors import ConfigError

if TYPE_CHECKING:
    from classifier_training.training.plan import Plan

_SIZES = ("final_epochs_at_test_size", "progressive_size", "progressive_until")


def is_probe(config: Config) -> bool:
    """Whether a configuration is that of a linear probe."""
    return config.recipe.name == "probe"


def as_probe(config: Config) -> Config:
    """The configuration of a linear probe, with the settings that it has; any other one as it is."""
    if not is_probe(config):
        return config
    views = config.recipe.probe_views
    augmentation = () if views else tuple(AugmentationConfig.model_fields)
    idle = (*augmentation, *MixingConfig.model_fields, *_SIZES)
    data = {name: DataConfig.model_fields[name].default for name in idle}
    if not views:
        data["cache_size"] = "original"  # nothing is cropped at random, so nothing is reduced and kept for that
    trainer: dict[str, Any] = {
        name: TrainerConfig.model_fields[name].default
        for name in ("accumulate_grad_batches", "early_stopping_patience", "gradient_clip_algorithm", "time_limit")
    }
    trainer |= {"max_epochs": 1, "gradient_clip_val": None, "precision": "32-true"}
    if config.trainer.devices == "auto":
        trainer["devices"] = 1
    model = {
        "freeze_epochs": 1, "freeze_stages": 0, "freeze_norm_stats": True, "drop_rate": 0.0, "drop_path_rate": None,
        "compile": False, "grad_checkpointing": False,
    }  # fmt: skip
    return config.model_copy(
        update={
            "data": config.data.model_copy(update=data),
            "model": config.model.model_copy(update=model),
            "loss": LossConfig(label_smoothing=0.0),
            "distill": DistillConfig(),
            "optimizer": OptimizerConfig(),
            "scheduler": SchedulerConfig(name="constant", warmup_epochs=0.0),
            "trainer": config.trainer.model_copy(update=trainer),
            "ema": EMAConfig(enabled=False),
            "checkpoint": config.checkpoint.model_copy(update={"choose_final": False, "keep_best": None}),
        }
    )


def check_probe_settings(config: Config, overrides: Overrides) -> None:
    """Refuses settings that were typed for a linear probe and would do nothing, all at once.

    Raises:
        ConfigError: There are some; a line for each.
    """
    if not is_probe(config):
        return
    given, used = (flat_settings(one.model_dump(mode="json")) for one in (config, as_probe(config)))
    typed = {one.key: one.origin for one in overrides.settings if one.key in given}
    faults = [
        f"{key}={show_value(given[key])} ({origin}): does nothing with recipe=probe, which fits the head alone, once,"
        f" without a step of gradient descent{_instead(key)}; leave it out, or use recipe=finetune"
        for key, origin in typed.items()
        if given[key] != used[key]
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def _instead(key: str) -> str:
    is_augmentation = key.removeprefix("data.") in AugmentationConfig.model_fields
    return " (recipe.probe_views adds augmented views)" if is_augmentation else ""


def describe_probe(plan: Plan) -> dict[str, str]:
    """What a plan says of a probe, in place of its training."""
    config, count = plan.config, len(plan.photos.rows["train"])
    views = config.recipe.probe_views
    augmented = f" and {views} augmented view(s)" if views else ""
    where = plan.accelerator if plan.place.world_size == 1 else f"{plan.accelerator} of the first process"
    balance = f", balance {config.data.balance}" if config.data.balance != "none" else ""
    return {
        "training": f"linear probe: logistic regression on features of {count} images, one centre crop{augmented} each,"
        f" on the {where}, {config.trainer.precision}{balance}; regularisation by cross-validation within train",
    }
