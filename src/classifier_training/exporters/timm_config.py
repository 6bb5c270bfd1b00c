"""``config.json`` of a folder from which timm, and the Hugging Face hub, build a model."""

from __future__ import annotations

from typing import Any, Final

from timm.models import split_model_name_tag

from classifier_training.models.backbone import backbone_arguments, pretrained_config
from classifier_training.models.base import BaseClassificationModel
from classifier_training.types import Preprocessing

_OF_ARCHITECTURE: Final = ("fixed_input_size", "min_input_size", "first_conv", "classifier")
"""Entries of timm's configuration that belong to the architecture, and not to the weights that timm has for it."""


def timm_config(model: BaseClassificationModel) -> dict[str, Any]:
    """The configuration of a model's backbone, as timm writes it for the hub.

    Of timm's own configuration only what describes the architecture is taken over: another size of the test, or a way
    to load weights that were converted, would belong to the weights that the training began from.
    """
    name = str(model.hparams["backbone"])
    architecture, _ = split_model_name_tag(name)
    settings = model.settings
    arguments = backbone_arguments(name, model.preprocessing.image_size, settings.drop_rate, settings.drop_path_rate)
    backbone: Any = model.backbone
    own = pretrained_config(name)
    entries = {key: own[key] for key in _OF_ARCHITECTURE if own.get(key) is not None}
    values = {
        "architecture": architecture,
        "num_classes": model.num_classes,
        "num_features": backbone.num_features,
        "label_names": list(model.classes),
        "model_args": arguments,
        "pretrained_cfg": {
            "tag": "custom",
            "custom_load": False,
            **entries,
            **pretrained_entries(model.preprocessing),
            "num_classes": model.num_classes,
        },
    }
    pool = getattr(backbone, "global_pool", None)
    return {**values, "global_pool": pool} if isinstance(pool, str) and pool else values


def pretrained_entries(preprocessing: Preprocessing) -> dict[str, Any]:
    """How images are prepared, by timm's names."""
    return {
        "input_size": [3, preprocessing.image_size, preprocessing.image_size],
        "interpolation": preprocessing.interpolation,
        "crop_pct": preprocessing.crop_pct,
        "crop_mode": "center",
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
    }
