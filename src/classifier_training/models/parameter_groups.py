"""Which parameters an optimizer treats alike: head and backbone, layers of the backbone, with weight decay or not."""

from __future__ import annotations

import fnmatch
import math
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple, cast

from timm.optim import (  # type: ignore[attr-defined]  # public, but not in its __all__
    param_groups_layer_decay,
    param_groups_weight_decay,
)
from torch import nn

from classifier_training.config.schema import OptimizerConfig
from classifier_training.errors import ConfigError


class _Place(NamedTuple):
    """Where a parameter is; parameters of one place and one weight decay are a group."""

    depth: int  # -1: in the head
    is_outer: bool  # of Muon: not a hidden weight, so that AdamW updates it

    def describe(self, *, has_layers: bool) -> str:
        """The beginning of the group's name."""
        layer = f", {self.depth} layers below the head" if has_layers else ""
        place = "head" if self.depth < 0 else f"backbone{layer}"
        return f"{place}, AdamW" if self.is_outer else place


def parameter_groups(
    backbone: nn.Module, head_parameters: Iterable[nn.Parameter], config: OptimizerConfig, backbone_lr_scale: float
) -> list[dict[str, Any]]:
    """Splits parameters into {head, backbone} × {decayed, not decayed}, and the backbone into layers for their decay.

    Norms, biases and what the backbone itself excludes (position embeddings, say) get no weight decay. With
    ``layer_decay`` the learning rate of a layer is ``lr * backbone_lr_scale * layer_decay ** depth``, where depth
    counts timm's groups of layers from the head (0) to the stem; that of the head is ``lr``. Muon is for hidden
    weights: what it must not orthogonalise (head, first layer, embeddings) has groups of its own.
    """
    own_rule = getattr(backbone, "no_weight_decay", None)
    excluded: Collection[str] = own_rule() if callable(own_rule) else ()
    head = {id(parameter) for parameter in head_parameters}
    outer = head | _first_and_embeddings(backbone, excluded) if config.name.endswith("muon") else set()
    depths = {} if config.layer_decay is None else layer_depths(backbone)
    groups: list[dict[str, Any]] = []
    for decayed in param_groups_weight_decay(backbone, config.weight_decay, no_weight_decay_list=excluded):
        places: dict[_Place, list[nn.Parameter]] = defaultdict(list)
        for parameter in decayed["params"]:
            key = id(parameter)
            places[_Place(-1 if key in head else depths.get(key, 0), key in outer)].append(parameter)
        decay = decayed["weight_decay"]
        for place in sorted(places):
            lr = config.peak_lr if place.depth < 0 else config.peak_lr * backbone_lr_scale
            if place.depth > 0:
                lr *= (config.layer_decay or 1.0) ** place.depth
            name = f"{place.describe(has_layers=bool(depths))}, decay {decay:g}"
            group = {"params": places[place], "lr": lr, "weight_decay": decay, "name": name}
            groups.append(group | {"use_fallback": True} if place.is_outer else group)
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


def _first_and_embeddings(backbone: nn.Module, excluded: Iterable[str]) -> set[int]:
    """Ids of the parameters of the first layer, by timm's configuration of the backbone, and of its embeddings."""
    first = cast("Any", getattr(backbone, "pretrained_cfg", None) or {}).get("first_conv") or ()
    patterns = [*excluded, *(f"{name}.*" for name in ([first] if isinstance(first, str) else first))]
    return {
        id(parameter)
        for name, parameter in backbone.named_parameters()
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    }
