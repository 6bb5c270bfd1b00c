"""The size of training images in each epoch: progressive resizing, and last epochs at the size of the test.

Small images are trained on faster, and most of what a model learns it learns from them as well (Howard 2018,
https://www.fast.ai/posts/2018-04-30-dawnbench-fastai.html; Tan and Le 2021, https://arxiv.org/abs/2104.00298). Random
crops show objects larger than the centre crop of the evaluation does, so a model is better at a larger size than it was
trained at, and better still after some epochs as it is tested (Touvron et al. 2019, https://arxiv.org/abs/1906.06423).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from typing_extensions import override

from classifier_training.config.schema import DataConfig
from classifier_training.data.loading.randomness import Crop, Randomness
from classifier_training.data.loading.transforms import TrainTransform
from classifier_training.errors import ConfigError
from classifier_training.types import Preprocessing

_STEP: Final = 32
_STEP_OF_SMALL: Final = 4
_SMALL: Final = 128
"""Images smaller than this grow by few pixels at a time, larger ones by what most backbones divide their input by."""


@dataclass(frozen=True, slots=True)
class TrainingSizes:
    """Side of the training images by epoch, pixels.

    Attributes:
        image_size: In most epochs.
        test_size: In the last ones, and in the evaluation.
        num_growing: First epochs in which images grow.
        first_share: Of image_size, in the first epoch, if they grow.
        first_final: The epoch from which on they have the size and the crop of the test; None: there is none.
    """

    image_size: int
    test_size: int
    num_growing: int = 0
    first_share: float = 1.0
    first_final: int | None = None

    @classmethod
    def of(cls, config: DataConfig, preprocessing: Preprocessing, num_epochs: int | None) -> TrainingSizes:
        """The sizes of a training.

        Args:
            config: Settings.
            preprocessing: Of the evaluation.
            num_epochs: Epochs of the training; None: not known.

        Raises:
            ConfigError: The settings are about the last epochs, and it is not known which these are.
        """
        image_size, test_size = config.image_size or preprocessing.image_size, preprocessing.image_size
        grows, num_final = config.progressive_size is not None, config.final_epochs_at_test_size
        if num_epochs is None:
            if grows or num_final:
                name = "progressive_size" if grows else "final_epochs_at_test_size"
                raise ConfigError(
                    f"data.{name}={getattr(config, name)}: it is not known which epochs are the last ones; give the"
                    " Trainer max_epochs"
                )
            return cls(image_size, test_size)
        num_unlike = max(1, num_epochs - num_final)  # at least the last one of these is of the full size
        return cls(
            image_size,
            test_size,
            num_growing=min(round(config.progressive_until * num_unlike), num_unlike - 1) if grows else 0,
            first_share=config.progressive_size or 1.0,
            first_final=max(0, num_epochs - num_final) if num_final else None,
        )

    def is_final(self, epoch: int) -> bool:
        """Whether an epoch trains on images as they are tested."""
        return self.first_final is not None and epoch >= self.first_final

    def at(self, epoch: int) -> int:
        """The side of the images of an epoch, pixels."""
        if self.is_final(epoch):
            return self.test_size
        if epoch >= self.num_growing:
            return self.image_size
        share = self.first_share + (1 - self.first_share) * epoch / self.num_growing
        step = _STEP if self.image_size >= _SMALL else _STEP_OF_SMALL
        return min(self.image_size, max(step, int(self.image_size * share / step + 0.5) * step))

    def distinct(self) -> list[int]:
        """All sides that occur in a training, rising."""
        grown = {self.at(epoch) for epoch in range(self.num_growing)}
        always_final = self.first_final == 0
        full = set() if always_final else {self.image_size}
        return sorted(grown | full | ({self.test_size} if self.first_final is not None else set()))


class CentredTransform(TrainTransform):
    """A `TrainTransform` that crops as the evaluation does: the same centre of every image."""

    @override
    def crop(self, size: tuple[int, int], random: Randomness) -> Crop:
        width, height = size
        side = max(1, round(min(size) * self.image_size / self.preprocessing.resize_size))
        return Crop((width - side) // 2, (height - side) // 2, side, side)
