"""Backbones by their timm name, and the preprocessing that belongs to them."""

from __future__ import annotations

import difflib
import math
from typing import Any, cast

import timm
import torch
from timm.data.config import resolve_data_config
from timm.models import group_parameters
from torch import nn

from classifier_training.errors import ModelError, first_line
from classifier_training.types import Interpolation, Preprocessing

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")


def check_backbone_name(name: str) -> None:
    """Makes sure that timm knows a backbone.

    Raises:
        ModelError: It does not; the nearest names are given.
    """
    if timm.is_model(name):
        return
    known = timm.list_models()
    near = difflib.get_close_matches(name, known, n=3) or [model for model in known if name.lower() in model][:3]
    hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() lists them all"
    raise ModelError(f"model.name={name!r} is not a timm model; {hint}")


def pretrained_config(name: str) -> dict[str, Any]:
    """Timm's pretrained configuration of a backbone: input size, crop, interpolation, mean, std, head."""
    check_backbone_name(name)
    config = timm.models.get_pretrained_cfg(name)
    return {} if config is None else cast("dict[str, Any]", cast("Any", config).to_dict())


def backbone_preprocessing(name: str, image_size: int | None = None, crop_pct: float | None = None) -> Preprocessing:
    """The preprocessing that a backbone's weights were trained with; size and crop are its own where None."""
    # a backbone that somebody registered without a configuration gets timm's defaults
    config = pretrained_config(name) or {"architecture": name}
    settings = cast("Any", resolve_data_config)(pretrained_cfg=config, verbose=False)
    interpolation = settings["interpolation"]
    return Preprocessing(
        image_size=image_size or settings["input_size"][-1],
        crop_pct=crop_pct or settings["crop_pct"],
        interpolation=cast("Interpolation", interpolation if interpolation in _INTERPOLATIONS else "bicubic"),
        mean=_three(settings["mean"]),
        std=_three(settings["std"]),
    )


def create_backbone(
    name: str,
    num_classes: int,
    image_size: int,
    drop_rate: float = 0.0,
    drop_path_rate: float | None = None,
) -> nn.Module:
    """Builds a timm model with random weights and makes sure that it takes the image size.

    Raises:
        ModelError: Unknown name, or a size that the backbone refuses.
    """
    config = pretrained_config(name)
    options = backbone_arguments(name, image_size, drop_rate, drop_path_rate)
    try:
        backbone = timm.create_model(name, num_classes=num_classes, **options)
    except TypeError as error:
        raise ModelError(f"backbone {name} does not take a setting: {first_line(error)}") from None
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ModelError(_size_refused(name, image_size, config, error)) from None
    _check_image_size(backbone, name, image_size, config)
    return backbone


def backbone_arguments(
    name: str, image_size: int, drop_rate: float = 0.0, drop_path_rate: float | None = None
) -> dict[str, Any]:
    """What ``timm.create_model`` is given besides name and number of classes; arguments of `create_backbone`."""
    arguments: dict[str, Any] = {"drop_rate": drop_rate} if drop_rate else {}
    if drop_path_rate is not None:
        arguments["drop_path_rate"] = drop_path_rate
    if pretrained_config(name).get("fixed_input_size"):
        arguments["img_size"] = image_size
    return arguments


def head_parameters(backbone: nn.Module) -> list[nn.Parameter]:
    """Parameters of a timm model's classifier; of both, where it has two (distilled models)."""
    classifier = cast("Any", backbone).get_classifier()
    modules = classifier if isinstance(classifier, tuple | list) else (classifier,)
    return [parameter for module in modules for parameter in module.parameters()]


def backbone_stages(backbone: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters of a timm model's stem and of each stage, or block, by timm's coarse groups; without the last group.

    The last group is the head and what belongs to it. A model that timm has no groups for has no stages.
    """
    matcher = getattr(backbone, "group_matcher", None)
    if not callable(matcher):
        return []
    groups = group_parameters(backbone, matcher(coarse=True))
    parameters = dict(backbone.named_parameters())
    return [[parameters[name] for name in groups[key] if name in parameters] for key in sorted(groups)][:-1]


def count_stages(name: str) -> int:
    """Stages of a backbone by its timm name, the stem counted as one; see `backbone_stages`."""
    with torch.device("meta"):
        return len(backbone_stages(timm.create_model(name)))


def _check_image_size(backbone: nn.Module, name: str, image_size: int, config: dict[str, Any]) -> None:
    patch = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    side = patch[0] if isinstance(patch, tuple) else patch
    if isinstance(side, int) and image_size % side:
        lower = max(side, image_size // side * side)
        raise ModelError(
            f"data.image_size={image_size} is not a multiple of the patch size {side} of {name};"
            f" nearest: {lower} or {math.ceil(image_size / side) * side}"
        )
    backbone.eval()
    try:
        with torch.inference_mode():
            backbone(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError) as error:
        raise ModelError(_size_refused(name, image_size, config, error)) from None
    backbone.train()


def _size_refused(name: str, image_size: int, config: dict[str, Any], error: Exception) -> str:
    own = config.get("input_size", (3, 224, 224))[-1]
    return f"backbone {name} refuses data.image_size={image_size} ({first_line(error)}); its own size is {own}"


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    """Three channels; a greyscale configuration counts for each of them."""
    red, green, blue = values if len(values) == 3 else values * 3
    return red, green, blue
