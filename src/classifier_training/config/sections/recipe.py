"""Settings of the recipe: how weights become a classifier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from classifier_training.config.section import Section


class RecipeConfig(Section):
    """How the model is trained; a recipe of the same name, such as `recipe=probe`, sets what else belongs to it."""

    name: Literal["auto", "probe", "finetune", "scratch"] = Field(
        "auto",
        description="probe: fits the head alone, on features computed once; finetune: trains pretrained weights on;"
        " scratch: trains random weights; auto: finetune where there are weights, else scratch",
    )
    start_from_probe: bool = Field(
        False, description="finetune: the head starts as the probe, fitted before the first epoch, instead of from zero"
    )
    probe_views: Annotated[int, Field(ge=0, le=100)] = Field(
        0, description="augmented views of each training image that the probe learns from, besides the centre crop"
    )

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """A start from the probe of a recipe that is one."""
        if self.start_from_probe and self.name == "probe":
            yield ("start_from_probe", "name"), "recipe=probe ends with the probe; recipe=finetune starts from it"
