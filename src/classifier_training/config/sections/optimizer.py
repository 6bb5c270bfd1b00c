"""Settings of the optimizer and of the learning rate schedule."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from classifier_training.config.section import (
    Fraction,
    NonNegativeFloat,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Section,
)
from classifier_training.errors import ConfigError

Share = Annotated[float, Field(gt=0.0, le=1.0)]
InnerShare = Annotated[float, Field(gt=0.0, lt=1.0)]
Betas = (
    Annotated[tuple[OpenFraction, OpenFraction], Field(strict=False)]
    | Annotated[tuple[OpenFraction, OpenFraction, OpenFraction], Field(strict=False)]
)
Milestones = Annotated[tuple[InnerShare, ...], Field(strict=False)]


class OptimizerConfig(Section):
    """The optimizer; weight decay never touches norms and biases."""

    name: Annotated[str, AfterValidator(str.lower)] = Field(
        "adamw", min_length=1, description="adamw, sgd or any other optimizer of timm, such as lamb, lion, nadamw, muon"
    )
    lr: PositiveFloat | Literal["find"] = Field(
        1e-3,
        description="peak learning rate of the head (and of the backbone, scaled); find: by a range test before the"
        " training",
    )
    backbone_lr_scale: Share | None = Field(
        None,
        description="the backbone's share of lr; null: 0.1 when it starts from weights without layer_decay, else 1",
    )
    layer_decay: Share | None = Field(
        None,
        description="factor on the learning rate from each layer of the backbone to the one before it; multiplied by"
        " backbone_lr_scale; null: all layers alike",
    )
    lr_base_batch_size: PositiveInt | None = Field(
        None,
        description="number of images in an optimizer step, on all devices, that lr is meant for; where a step has"
        " others, lr is scaled by lr_scaling; null: lr is what is given",
    )
    lr_scaling: Literal["linear", "sqrt"] = Field(
        "linear", description="how lr grows with the images of a step: in proportion, or as their square root"
    )
    weight_decay: NonNegativeFloat = Field(0.05, description="weight decay of weights, not of norms and biases")
    momentum: OpenFraction = Field(0.9, description="momentum (sgd, muon, …) or beta1 (adamw)")
    nesterov: bool | None = Field(
        None, description="Nesterov's momentum (sgd, muon, …); null: with sgd where there is momentum, else timm's"
    )
    betas: Betas | None = Field(None, description="decay rates of adaptive optimizers; null: the optimizer's own")
    eps: PositiveFloat | None = Field(None, description="added to denominators; null: the optimizer's own")
    sam_rho: PositiveFloat | None = Field(
        None,
        description="sharpness-aware minimisation: how far the weights are moved uphill for the gradient, 0.05 say, at"
        " twice the time of a step; null: not at all",
    )

    @property
    def peak_lr(self) -> float:
        """``lr`` as a number.

        Raises:
            ConfigError: It is still to be found.
        """
        if self.lr == "find":
            raise ConfigError("optimizer.lr=find: a range test is made by train alone; give a number here")
        return self.lr

    @property
    def shown_lr(self) -> str:
        """``lr`` in a message."""
        return "by a range test" if self.lr == "find" else f"{self.lr:g}"

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Two momenta, two ways to a learning rate."""
        if self.lr == "find" and self.lr_base_batch_size is not None:
            yield (
                ("lr", "lr_base_batch_size"),
                "find measures the rate for the batches of this run; leave the other out",
            )
        if self.lr == "find" and self.sam_rho is not None:
            yield ("lr", "sam_rho"), "a range test makes plain steps, and not those of SAM; give a number"
        default = type(self).model_fields["momentum"].default
        if self.name == "adamw" and self.betas is not None and self.momentum not in (default, self.betas[0]):
            yield ("momentum", "betas"), "two values of beta1; give one of them"
        if self.nesterov and self.momentum == 0:
            yield ("nesterov", "momentum"), "Nesterov's momentum needs a momentum above 0"


class SchedulerConfig(Section):
    """Linear warm-up, then a curve over the rest of the training, stepped once per optimizer step."""

    name: Literal["cosine", "constant", "linear", "one_cycle", "step", "poly", "cosine_restarts", "plateau"] = Field(
        "cosine", description="shape after the warm-up"
    )
    warmup_epochs: NonNegativeFloat | None = Field(
        None,
        description="length of the linear warm-up, epochs; null: 1, or half of a training of one epoch; 0 for"
        " one_cycle, which has a rise of its own",
    )
    min_lr_ratio: Fraction = Field(0.01, description="last and lowest learning rate as a share of the peak")
    rise: InnerShare = Field(0.3, description="one_cycle: share of the training in which the learning rate rises")
    milestones: Milestones = Field(
        (0.5, 0.75), min_length=1, description="step: shares of the training where the learning rate falls"
    )
    gamma: InnerShare = Field(0.1, description="step, plateau: factor on the learning rate where it falls")
    power: PositiveFloat = Field(0.9, description="poly: exponent of the share of the training that is left")
    num_cycles: PositiveInt = Field(3, description="cosine_restarts: number of cosines")
    cycle_growth: Annotated[float, Field(ge=1.0)] = Field(
        1.0, description="cosine_restarts: length of a cosine over that of the one before it"
    )
    plateau_patience: PositiveInt = Field(
        3, description="plateau: epochs without a lower val/loss after which the learning rate falls"
    )

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """A second warm-up, and milestones out of order."""
        if self.name == "one_cycle" and self.warmup_epochs:
            yield ("name", "warmup_epochs"), "one_cycle begins with a rise of its own; set scheduler.rise instead"
        if any(later <= earlier for earlier, later in pairwise(self.milestones)):
            yield ("milestones",), "must rise"
