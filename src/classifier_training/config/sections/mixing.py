"""Settings of the mixing of training images."""

from __future__ import annotations

from pydantic import Field

from classifier_training.config.section import Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt, Section


class MixingConfig(Section):
    """How the images of a training batch, and their labels, are mixed with each other; a part of ``data``."""

    mixup: NonNegativeFloat = Field(
        0.0, description="mixup: two images are blended in shares from Beta(alpha, alpha), this alpha; 0: off"
    )
    cutmix: NonNegativeFloat = Field(
        0.0, description="CutMix: a box of another image is pasted, its area from Beta(alpha, alpha); 0: off"
    )
    mix_prob: Fraction = Field(1.0, description="probability that a batch is mixed, where mixup or cutmix is on")
    mix_switch_prob: Fraction = Field(0.5, description="probability of CutMix instead of mixup, where both are on")
    repeated_augmentation: PositiveInt = Field(
        1, description="how often an epoch samples an image, each time augmented in another way; epochs stay as long"
    )
    mix_off_epochs: NonNegativeInt = Field(0, description="last epochs in which nothing is mixed")
