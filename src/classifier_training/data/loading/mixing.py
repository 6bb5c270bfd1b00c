"""Mixup and CutMix: training images and their labels mixed with each other, on the device, by position in the epoch.

The images of a batch get a common share λ and a common distance to their partners, so a device gets a few numbers with
the batch and nothing waits for it:

    mixup    x'_i = λ x_i + (1 − λ) x_j                       Zhang et al. 2018, https://arxiv.org/abs/1710.09412
    CutMix   x'_i = x_i, in a box of the share 1 − λ x_j      Yun et al. 2019, https://arxiv.org/abs/1905.04899
    both     t'_i = λ t_i + (1 − λ) t_j                       λ ~ Beta(α, α), t one-hot

Every image is the partner of exactly one other, so the targets of a batch sum to the counts of its labels. Labels are
smoothed by the loss, which is linear in the target, so it does not matter whether before or after the mixing.

torchvision's and timm's classes take their random numbers from a global generator, so a resumed run would mix
otherwise; they mix neighbours, which repeated augmentation makes the same image; timm's wants an even batch size.

Letters: B batch size, K number of classes, S image size.
"""

from __future__ import annotations

from typing import Final, Self

import numpy as np
import torch
from torch import Tensor

from classifier_training.config.schema import DataConfig
from classifier_training.config.sections.mixing import MixingConfig
from classifier_training.errors import ConfigError
from classifier_training.seeding import mix_seed
from classifier_training.types import Mix

_STREAM: Final = 1
"""Keeps the random numbers of the mixing apart from those of other uses of a position."""


class BatchMixer:
    """Decides how the batches of a training are mixed.

    Args:
        config: Strengths and probabilities.
        num_classes: K.
        seed: The run's seed.
        first_unmixed_epoch: The epoch from which on nothing is mixed; None: there is none.
        num_repeats: How often an image comes in a row, so that it is not mixed with itself.
    """

    def __init__(
        self,
        config: MixingConfig,
        num_classes: int,
        seed: int,
        *,
        first_unmixed_epoch: int | None = None,
        num_repeats: int = 1,
    ) -> None:
        self.config = config
        self.num_classes = num_classes
        self.seed = seed
        self.first_unmixed_epoch = first_unmixed_epoch
        self.num_repeats = num_repeats

    @classmethod
    def of(cls, config: DataConfig, num_classes: int, seed: int, num_epochs: int | None) -> Self | None:
        """What mixes the batches of a training.

        Args:
            config: Settings.
            num_classes: K.
            seed: The run's seed.
            num_epochs: Epochs of the training; None: not known.

        Returns:
            None: nothing is mixed.

        Raises:
            ConfigError: The last epochs are not to be mixed, and it is not known which these are.
        """
        if not (config.mixup or config.cutmix):
            return None
        num_last = max(config.mix_off_epochs, config.final_epochs_at_test_size)
        if num_epochs is None and num_last:
            raise ConfigError(
                f"data.mix_off_epochs={num_last}: it is not known which epochs are the last ones; give the Trainer"
                " max_epochs"
            )
        first_unmixed = None if num_epochs is None else num_epochs - num_last
        repeats = config.repeated_augmentation
        return cls(config, num_classes, seed, first_unmixed_epoch=first_unmixed, num_repeats=repeats)

    def sample(self, epoch: int, position: int, batch_size: int, image_size: int) -> Mix | None:
        """How a batch is mixed.

        Args:
            epoch: Its epoch.
            position: Of its first image in the epoch, over all processes.
            batch_size: B; one image alone has no partner.
            image_size: S.

        Returns:
            None: not at all.
        """
        config = self.config
        is_over = self.first_unmixed_epoch is not None and epoch >= self.first_unmixed_epoch
        if is_over or batch_size == 1 or not (config.mixup or config.cutmix):
            return None
        random = np.random.default_rng(mix_seed(self.seed, epoch, position, _STREAM))
        is_mixed, is_cut, *centre = random.random(4).tolist()
        if is_mixed >= config.mix_prob:
            return None
        distance = self.num_repeats if batch_size >= 2 * self.num_repeats else 1
        shift = int(random.integers(distance, batch_size - distance + 1))
        cutmix = config.cutmix and (not config.mixup or is_cut < config.mix_switch_prob)
        alpha = config.cutmix if cutmix else config.mixup
        share = float(random.beta(alpha, alpha))
        if not cutmix:
            return Mix(share, shift, None, self.num_classes)
        box = _box(share, centre, image_size)
        area = (box[2] - box[0]) * (box[3] - box[1])
        return Mix(1 - area / image_size**2, shift, box, self.num_classes)


def mix_images(images: Tensor, mix: Mix) -> Tensor:
    """Mixes normalised images.

    Args:
        images: float (B, 3, S, S); changed where a box is pasted.
        mix: From `BatchMixer`.

    Returns:
        float (B, 3, S, S), in the same memory format.
    """
    shift = mix.shift
    if mix.box is None:
        mixed, weight = torch.empty_like(images), 1 - mix.share
        torch.lerp(images[shift:], images[:-shift], weight, out=mixed[shift:])
        torch.lerp(images[:shift], images[-shift:], weight, out=mixed[:shift])
        return mixed
    top, left, bottom, right = mix.box
    boxes = images[:, :, top:bottom, left:right]
    boxes.copy_(boxes.roll(shift, 0))
    return images


def mix_labels(labels: Tensor, mix: Mix) -> Tensor:
    """The targets of mixed images.

    Args:
        labels: int64 (B,).
        mix: From `BatchMixer`.

    Returns:
        float32 (B, K), each row a distribution over the classes.
    """
    one_hot = (labels[:, None] == torch.arange(mix.num_classes, device=labels.device)).float()
    return torch.lerp(one_hot, one_hot.roll(mix.shift, 0), 1 - mix.share)


def _box(share: float, centre: list[float], image_size: int) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of a square of the area 1 - share around a centre, cut off at the border."""
    half = int(image_size * (1 - share) ** 0.5 / 2)
    y, x = (int(place * image_size) for place in centre)
    return max(0, y - half), max(0, x - half), min(image_size, y + half), min(image_size, x + half)
