"""Settings of distillation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from classifier_training.config.section import NonEmptyText, PositiveFloat, Section


class DistillConfig(Section):
    """A teacher, from whose predictions the model learns besides the labels."""

    teacher: NonEmptyText | None = Field(
        None,
        description="a run folder, a checkpoint of a run, or a timm model with pretrained weights of these classes",
    )
    weight: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.5, description="share of the teacher in the loss; the labels have the rest"
    )
    temperature: PositiveFloat = Field(
        2.0, description="what the logits of both are divided by, so that the teacher's smaller probabilities count"
    )
