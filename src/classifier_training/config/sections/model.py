"""Settings of the backbone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from classifier_training.config.section import NonEmptyText, NonNegativeInt, OpenFraction, Section


class ModelConfig(Section):
    """The backbone and how much of it is trained when."""

    name: str = Field(
        "auto",
        min_length=1,
        description="any timm model name; auto: by the number of the images, their size, the device, the time limit and"
        " the weights to be had",
    )
    pretrained: bool | Literal["auto"] = Field(
        "auto",
        description="start from pretrained weights: those of model.weights, an installed package (extra weights), the"
        " hub's cache, else timm's by download; auto: from random ones where there are none",
    )
    weights: NonEmptyText | None = Field(
        None, description="start from this file (safetensors or weights-only torch file)"
    )
    drop_rate: OpenFraction = Field(0.0, description="dropout before the head")
    drop_path_rate: OpenFraction | None = Field(None, description="stochastic depth; null: the backbone's own")
    freeze_epochs: NonNegativeInt | None = Field(
        None, description="epochs that train the head alone; null: 0 from scratch, else a quarter of the epochs"
    )
    freeze_stages: NonNegativeInt | None = Field(
        None,
        description="first stages of the backbone that are never trained, the stem counted as one, by timm's coarse"
        " groups; null: 0, but half of them where recipe=finetune starts from weights on a CPU",
    )
    freeze_norm_stats: bool | None = Field(
        None, description="keep the backbone's BatchNorm statistics; null: yes when it starts from weights"
    )
    channels_last: bool = Field(True, description="memory format that convolutions are fastest in")
    grad_checkpointing: bool = Field(
        False, description="compute activations again in the backward pass: less memory, a third more time"
    )
    compile: bool = Field(False, description="compile the backbone with torch.compile")

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Two sources of weights."""
        if self.pretrained is True and self.weights is not None:
            yield ("pretrained", "weights"), "two sources of weights; give one of them"
