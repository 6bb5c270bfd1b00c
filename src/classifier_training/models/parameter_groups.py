"""Which parameters an optimizer treats alike: head and backbone, layers of the backbone, with weight decay or not."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from timm.optim import (  # type: ignore[attr-defined]  # public, but not in its __all__
    param_groups_layer_decay,
    param_groups_weight_decay,
)
from torch import nn

from classifier_training.config.schema import OptimizerConfig
from classifier_training.errors import ConfigError


def parameter_groups(
    backbone: nn.Module, head_parameters: Iterable[nn.Parameter], config: OptimizerConfig, backbone_lr_scale: float
) -> list[dict[str, Any]]:
    """Splits parameters into {head, backbone} × {decayed, not decayed}, and the backbone into layers for their decay.

    Norms, biases and what the backbone itself excludes (position embeddings, say) get no weight decay. With
    ``layer_decay`` the learning rate of a layer is ``lr * backbone_lr_scale * layer_decay ** depth``, where depth
    counts timm's groups of layers from the head (0) to the stem; that of the head is ``lr``.
    """
    own_rule = getattr(backbone, "no_weight_decay", None)
    excluded = own_rule() if callable(own_rule) else ()
    head = {id(parameter) for parameter in head_parameters}
    depths = {} if config.layer_decay is None else layer_depths(backbone)
    groups: list[dict[str, Any]] = []
    for decayed in param_groups_weight_decay(backbone, config.weight_decay, no_weight_decay_list=excluded):
        of_layer: dict[int | None, list[nn.Parameter]] = defaultdict(list)
        for parameter in decayed["params"]:
            of_layer[None if id(parameter) in head else depths.get(id(parameter), 0)].append(parameter)
        decay = decayed["weight_decay"]
        for depth in sorted(of_layer, key=lambda depth: -1 if depth is None else depth):
            place = "head" if depth is None else f"backbone, {depth} layers below the head" if depths else "backbone"
            lr = config.lr if depth is None else config.lr * backbone_lr_scale
            if depth is not None and config.layer_decay is not None:
                lr *= config.layer_decay**depth
            label = f"{place}, decay {decay:g}"
            groups.append({"params": of_layer[depth], "lr": lr, "weight_decay": decay, "name": label})
    return groups


def layer_depths(backbone: nn.Module) -> dict[int, int]:
    """Layers between each parameter, by its id, and the head, by timm's groups of this backbone's layers.

    Raises:
        ConfigError: All its parameters are one layer.
    """
    base = 0.5  # its powers are exact, so that the depth can be read off the factor
    groups = param_groups_layer_decay(backbone, layer_decay=base)
    depths = {id(value): round(-math.log2(group["lr_scale"])) for group in groups for value in group["params"]}
    if not any(depths.values()):
        raise ConfigError(
            f"optimizer.layer_decay: timm knows no layers of {type(backbone).__name__}; leave optimizer.layer_decay"
            " out, and use optimizer.backbone_lr_scale"
        )
    return depths
