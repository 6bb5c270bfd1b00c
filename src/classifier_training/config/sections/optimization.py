"""Settings of the loss and of the average of the weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from classifier_training.config.section import NonNegativeFloat, NonNegativeInt, OpenFraction, Section


class LossConfig(Section):
    """The training loss."""

    name: Literal["cross_entropy", "focal", "bce"] = Field("cross_entropy", description="loss function")
    label_smoothing: OpenFraction = Field(0.1, description="probability mass spread over all classes")
    focal_gamma: NonNegativeFloat = Field(2.0, description="focusing exponent of the focal loss")


class EMAConfig(Section):
    """The exponential moving average of the weights, which is what gets scored, saved and exported."""

    enabled: bool = Field(True, description="keep an average of the weights")
    decay: OpenFraction = Field(0.9999, description="upper bound of the decay")
    warmup_steps: NonNegativeInt = Field(0, description="optimizer steps during which the average follows")
