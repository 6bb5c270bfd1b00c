"""The model of a training."""

from __future__ import annotations

from collections.abc import Callable

import lightning

from classifier_training.config.probe import is_probe
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.data.loading.sizes import TrainingSizes
from classifier_training.errors import ConfigError
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.batch_of_one import batch_of_one
from classifier_training.models.grad_checkpointing import check_grad_checkpointing
from classifier_training.models.head_features import linear_classifier
from classifier_training.models.parameter_groups import layer_depths
from classifier_training.models.probe_model import ProbeModel
from classifier_training.models.settings import ModelSettings
from classifier_training.models.weights import load_starting_weights
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.all_at_once import check_all
from classifier_training.training.images import check_training_sizes
from classifier_training.training.plan import Plan
from classifier_training.training.teacher import build_distillation


def build_model(plan: Plan, terminal: Terminal) -> BaseClassificationModel:
    """The model; with its starting weights, of which a message is printed, where these are on this disk."""
    config, counts = plan.config, plan.photos.counts("train")
    lightning.seed_everything(config.seed, verbose=False)
    data = ImageFolderDataModule(config=config.data, preprocessing=plan.preprocessing, photos=plan.photos)
    kind = ProbeModel if is_probe(config) else BaseClassificationModel
    model = kind(
        config.model.name,
        plan.photos.classes,
        settings=ModelSettings.from_config(config),
        preprocessing=plan.preprocessing,
        class_counts=counts if config.data.balance == "logit_adjustment" else None,
        class_weights=data.class_weights() if config.data.balance == "loss_weights" else None,
    )
    _check_backbone(plan, model, terminal)
    if plan.weights and plan.weights.at_hub is None:
        terminal.info(load_starting_weights(model.backbone, config.model.name, plan.weights))
    model.distillation = build_distillation(plan)
    return model


def _check_backbone(plan: Plan, model: BaseClassificationModel, terminal: Terminal) -> None:
    """Refuses what the settings ask of a backbone that it cannot do, all of it at once."""
    config, backbone, name = plan.config, model.backbone, plan.config.model.name
    image_size = plan.preprocessing.image_size
    sizes = TrainingSizes.of(config.data, plan.preprocessing, config.trainer.num_epochs).distinct()
    others = [size for size in sizes if size != image_size]
    checks: list[Callable[[], object]] = [lambda: check_training_sizes(backbone, name, others, image_size)]
    if config.optimizer.layer_decay is not None:
        checks.append(lambda: layer_depths(backbone))  # refuses a backbone of one layer
    if config.model.grad_checkpointing:
        checks.append(lambda: check_grad_checkpointing(backbone, name))
    if is_probe(config):
        checks.append(lambda: linear_classifier(backbone, image_size, name))
    check_all(checks)
    _check_batch_size(plan, model, terminal, min(sizes))


def _check_batch_size(plan: Plan, model: BaseClassificationModel, terminal: Terminal, image_size: int) -> None:
    """Refuses, or warns of, batches of one image for BatchNorm, before anything is written.

    Raises:
        ConfigError: PyTorch would refuse the first batch.
    """
    config = plan.config
    devices = config.trainer.devices if isinstance(config.trainer.devices, int) else 1
    share = len(plan.photos.rows["train"]) // max(1, devices * config.trainer.num_nodes)
    size = share if config.data.batch_size == "auto" else config.data.batch_size
    if min(size, share) > 1 or config.model.freeze_norm_stats:
        return
    outcome = batch_of_one(model.backbone, image_size)
    cause = f"data.batch_size={config.data.batch_size}"
    cause = cause if config.data.batch_size == 1 else f"{cause} with {share} training image(s) a device"
    way_out = "set data.batch_size=2 or more, or keep the statistics with model.freeze_norm_stats=true"
    if outcome == "refused":
        raise ConfigError(
            f"{cause}: {config.model.name} has BatchNorm, which cannot be trained on one image at a time; {way_out}"
        )
    if outcome == "poor":
        terminal.warn(f"{cause}: BatchNorm takes its statistics from one image at a time, which are poor; {way_out}")
