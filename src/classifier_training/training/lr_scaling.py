"""The learning rate for the number of images in an optimizer step."""

from __future__ import annotations

import math

from classifier_training.config.schema import Config, OptimizerConfig
from classifier_training.run.place import Place


def images_of_step(config: Config, place: Place) -> int:
    """Images in an optimizer step: of all devices, and of all batches whose gradients are added up."""
    return config.data.images_per_batch * place.world_size * config.trainer.accumulate_grad_batches


def scale_lr(optimizer: OptimizerConfig, num_images: int) -> OptimizerConfig:
    """Decides ``lr`` where it is meant for another number of images; it is then meant for this one.

    Linear (Goyal et al. 2017, "Accurate, Large Minibatch SGD"): ``lr * num_images / lr_base_batch_size``; ``sqrt``,
    which suits adaptive optimizers (Krizhevsky 2014, "One weird trick"): ``lr`` times the square root of that.
    """
    base = optimizer.lr_base_batch_size
    if base is None or base == num_images:
        return optimizer
    ratio = num_images / base
    factor = ratio if optimizer.lr_scaling == "linear" else math.sqrt(ratio)
    return optimizer.model_copy(update={"lr": optimizer.peak_lr * factor, "lr_base_batch_size": num_images})


def with_batch_size(config: Config, place: Place, batch_size: int) -> Config:
    """A configuration with a number of images in a batch, and the learning rate that follows from it."""
    config = config.model_copy(update={"data": config.data.model_copy(update={"batch_size": batch_size})})
    return config.model_copy(update={"optimizer": scale_lr(config.optimizer, images_of_step(config, place))})


def describe_scaling(before: OptimizerConfig, after: OptimizerConfig) -> str | None:
    """What was done to the learning rate; None: nothing."""
    base, num_images = before.lr_base_batch_size, after.lr_base_batch_size
    if base == num_images:
        return None
    rule = "in proportion" if before.lr_scaling == "linear" else "with the square root"
    return f"{after.peak_lr:g} for {num_images} images a step: {before.peak_lr:g} for {base}, scaled {rule}"
