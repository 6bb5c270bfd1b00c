"""The settings of a linear probe: those that it has, and those that would do nothing."""

from __future__ import annotations

from typing import Any

from classifier_training.config.flatten import flat_settings
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
        for name in (
            "accumulate_grad_batches",
            "default_epochs",
            "early_stopping_patience",
            "gradient_clip_algorithm",
            "time_limit",
        )
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


def idle_in_probe(config: Config) -> dict[str, str]:
    """The settings that would do nothing in a linear probe, with the reason; none of any other training."""
    if not is_probe(config):
        return {}
    given, used = (flat_settings(one.model_dump(mode="json")) for one in (config, as_probe(config)))
    return {
        key: "does nothing with recipe=probe, which fits the head alone, once, without a step of gradient"
        f" descent{_instead(key)}; leave it out, or use recipe=finetune"
        for key, value in given.items()
        if value != used[key]
    }


def _instead(key: str) -> str:
    is_augmentation = key.removeprefix("data.") in AugmentationConfig.model_fields
    return " (recipe.probe_views adds augmented views)" if is_augmentation else ""
