"""Settings of the loss, the optimizer, the schedule and the average of the weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from classifier_training.config.section import (
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    OpenFraction,
    PositiveFloat,
    Section,
)


class LossConfig(Section):
    """The training loss."""

    name: Literal["cross_entropy", "focal", "bce"] = Field("cross_entropy", description="loss function")
    label_smoothing: OpenFraction = Field(0.1, description="probability mass spread over all classes")
    focal_gamma: NonNegativeFloat = Field(2.0, description="focusing exponent of the focal loss")


class OptimizerConfig(Section):
    """The optimizer; weight decay never touches norms and biases."""

    name: Literal["adamw", "sgd"] = Field("adamw", description="optimizer")
    lr: PositiveFloat = Field(1e-3, description="peak learning rate of the head (and of the backbone, scaled)")
    backbone_lr_scale: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None, description="the backbone's share of lr; null: 0.1 when it starts from weights, else 1"
    )
    weight_decay: NonNegativeFloat = Field(0.05, description="weight decay of weights, not of norms and biases")
    momentum: OpenFraction = Field(0.9, description="momentum (sgd) or beta1 (adamw)")


class SchedulerConfig(Section):
    """Linear warm-up, then cosine, stepped once per optimizer step."""

    name: Literal["cosine", "constant"] = Field("cosine", description="shape after the warm-up")
    warmup_epochs: NonNegativeFloat | None = Field(
        None, description="length of the linear warm-up, epochs; null: 1, or half of a training of one epoch"
    )
    min_lr_ratio: Fraction = Field(0.01, description="last learning rate as a share of the peak")


class EMAConfig(Section):
    """The exponential moving average of the weights, which is what gets scored, saved and exported."""

    enabled: bool = Field(True, description="keep an average of the weights")
    decay: OpenFraction = Field(0.9999, description="upper bound of the decay")
    warmup_steps: NonNegativeInt = Field(0, description="optimizer steps during which the average follows")
