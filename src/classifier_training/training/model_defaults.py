"""What the settings of the model that are left open become: what is trained when, and from which weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from classifier_training.config.schema import Config
from classifier_training.errors import ConfigError
from classifier_training.models.backbone import count_stages


def model_defaults(config: Config, from_weights: bool, accelerator: str) -> dict[str, Any]:
    """Values of the section ``model`` by name, for those that are null.

    Args:
        config: The configuration, with the backbone's name.
        from_weights: Whether the training starts from weights.
        accelerator: What it runs on.

    Raises:
        ConfigError: ``model.freeze_stages`` is more than the backbone has, or would keep random weights.
    """
    epochs, file = config.trainer.num_epochs, config.model.weights
    frozen = 1 if config.trainer.is_ended_by_clock else max(1, round(epochs / 4)) if epochs > 1 else 0
    return {
        "freeze_epochs": frozen if from_weights and not config.recipe.start_from_probe else 0,
        "freeze_stages": _frozen_stages(config, from_weights, accelerator),
        "freeze_norm_stats": from_weights,
        "pretrained": from_weights and file is None,
        "weights": None if file is None else str(Path(file).expanduser().resolve()),
    }


def _frozen_stages(config: Config, from_weights: bool, accelerator: str) -> int:
    """Half of the stages in a fine-tuning on a CPU, where they take most of a step's time; they would change least.

    Where ``model.freeze_epochs`` is given, what is frozen was decided: by a user, or before this setting existed.
    """
    asked = config.model.freeze_stages
    is_open = asked is None and config.model.freeze_epochs is None and config.recipe.start_from_probe
    is_open = is_open and from_weights and accelerator == "cpu"
    if not asked and not is_open:
        return 0
    if not from_weights:
        raise ConfigError(
            f"model.freeze_stages={asked} would keep random weights, as this training starts from none: leave it out,"
            " or give weights (model.pretrained=true or model.weights=FILE)"
        )
    number = count_stages(config.model.name)
    if asked is not None and asked > number:
        raise ConfigError(
            f"model.freeze_stages={asked}: {config.model.name} has {number} stages, the stem counted as one; allowed"
            f" are 0 to {number}"
        )
    return number // 2 if asked is None else asked
