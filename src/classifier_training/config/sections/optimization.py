"""Settings of the loss and of the average of the weights."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from classifier_training.config.section import NonNegativeFloat, NonNegativeInt, OpenFraction, Section

_OTHER_NAMES: Final = {"soft_target_cross_entropy": "cross_entropy", "poly-1": "poly1"}
"""Names of losses that are taken as well."""


class LossConfig(Section):
    """The training loss."""

    name: Annotated[
        Literal["cross_entropy", "focal", "bce", "asymmetric", "poly1"],
        BeforeValidator(lambda name: _OTHER_NAMES.get(name, name) if isinstance(name, str) else name),
    ] = Field(
        "cross_entropy",
        description="loss function; cross_entropy is that of soft targets, too (soft_target_cross_entropy)",
    )
    label_smoothing: OpenFraction = Field(0.1, description="probability mass spread over all classes")
    focal_gamma: NonNegativeFloat = Field(2.0, description="focusing exponent of the focal loss")
    asymmetric_gamma_positive: NonNegativeFloat = Field(
        0.0, description="focusing exponent of the true class in the asymmetric loss"
    )
    asymmetric_gamma_negative: NonNegativeFloat = Field(
        4.0, description="focusing exponent of the other classes in the asymmetric loss, for the label smoothing"
    )
    poly_epsilon: Annotated[float, Field(ge=-1.0)] = Field(
        1.0, description="what poly1 adds to the first coefficient of the cross-entropy"
    )


class EMAConfig(Section):
    """The exponential moving average of the weights, which is what gets scored, saved and exported."""

    enabled: bool = Field(True, description="keep an average of the weights")
    decay: OpenFraction = Field(0.9999, description="upper bound of the decay")
    warmup_steps: NonNegativeInt = Field(0, description="optimizer steps during which the average follows")
