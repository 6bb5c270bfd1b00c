"""The settings of a model: what it is built from and how it is trained, without the rest of a run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final, Self

from classifier_training.config.schema import Config, LossConfig, OptimizerConfig, SchedulerConfig
from classifier_training.config.section import NonNegativeInt, OpenFraction, Section
from classifier_training.errors import ConfigError

_SECTIONS: Final = {"seed", "model", "loss", "optimizer", "scheduler"}
"""Of a whole configuration, what a model is made from."""


class ModelSettings(Section):
    """What a model takes besides its backbone, its classes and its preprocessing; the defaults are those of a run.

    Attributes:
        seed: Seed of dropout and stochastic depth.
        drop_rate: Dropout before the head.
        drop_path_rate: Stochastic depth; None: the backbone's own.
        freeze_epochs: Epochs that train the head alone.
        freeze_stages: First stages of the backbone that are not trained, the stem counted as one.
        freeze_norm_stats: Whether the backbone's BatchNorm statistics are kept.
        channels_last: The memory format that convolutions are fastest in.
        grad_checkpointing: Whether activations are computed again in the backward pass, which saves memory.
        compile: Whether the backbone is compiled with ``torch.compile`` when training starts.
        loss: The training loss; None: the task's default.
        optimizer: The optimizer.
        scheduler: The learning rate schedule.
    """

    seed: NonNegativeInt = 0
    drop_rate: OpenFraction = 0.0
    drop_path_rate: OpenFraction | None = None
    freeze_epochs: NonNegativeInt = 0
    freeze_stages: NonNegativeInt = 0
    freeze_norm_stats: bool = False
    channels_last: bool = True
    grad_checkpointing: bool = False
    compile: bool = False
    loss: LossConfig | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
    scheduler: SchedulerConfig = SchedulerConfig()

    @classmethod
    def from_config(cls, config: Config | Mapping[str, Any]) -> Self:
        """A model's part of a whole configuration.

        Args:
            config: A configuration, or one as plain values, as checkpoints of version 0.1 hold it; sections that are
                not about the model are not read.
        """
        if not isinstance(config, Config):
            others = Config.model_fields.keys() - _SECTIONS
            config = Config.model_validate({name: value for name, value in config.items() if name not in others})
        model = config.model
        return cls(
            seed=config.seed,
            drop_rate=model.drop_rate,
            drop_path_rate=model.drop_path_rate,
            freeze_epochs=model.freeze_epochs or 0,
            freeze_stages=model.freeze_stages or 0,
            freeze_norm_stats=bool(model.freeze_norm_stats),
            channels_last=model.channels_last,
            grad_checkpointing=model.grad_checkpointing,
            compile=model.compile,
            loss=config.loss,
            optimizer=config.optimizer,
            scheduler=config.scheduler,
        )


def read_settings(
    settings: ModelSettings | Mapping[str, Any] | None, config: Config | Mapping[str, Any] | None
) -> ModelSettings:
    """The settings of a model, given in either form."""
    if settings is not None and config is not None:
        raise ConfigError("BaseClassificationModel: settings and config are two sources of settings; give one of them")
    if isinstance(config, Config):
        warnings.warn(
            "BaseClassificationModel(config=…) is the form of version 0.1; use settings=ModelSettings.from_config(…)",
            DeprecationWarning,
            stacklevel=3,
        )
    if config is not None:
        return ModelSettings.from_config(config)
    return settings if isinstance(settings, ModelSettings) else ModelSettings.model_validate(dict(settings or {}))
