"""The features that a backbone's classifier gets, where that is one linear layer on one vector an image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from classifier_training.errors import ModelError
from classifier_training.models.backbone import head_parameters


def backbone_features(backbone: nn.Module, images: Tensor) -> Tensor:
    """The input of a timm model's classifier: images float32 (B, 3, S, S) to features (B, D)."""
    parts = cast("Any", backbone)
    return cast("Tensor", parts.forward_head(parts.forward_features(images), pre_logits=True))


def linear_classifier(backbone: nn.Module, image_size: int, name: str = "the backbone") -> nn.Linear:
    """The classifier of a timm model, once it is certain that it is a linear layer on `backbone_features`.

    Args:
        backbone: The model, with a classifier.
        image_size: S, pixels.
        name: Of the model, for the message.

    Raises:
        ModelError: It is something else: two heads, a convolution, a layer on each patch.
    """
    classifier = cast("Any", backbone).get_classifier() if hasattr(backbone, "get_classifier") else None
    if not isinstance(classifier, nn.Linear):
        kind = "two heads" if isinstance(classifier, tuple | list) else type(classifier).__name__
        raise ModelError(_refusal(name, kind))
    given: list[Tensor] = []
    handle = classifier.register_forward_pre_hook(lambda _module, inputs: given.append(inputs[0].detach()))
    was_training = backbone.training
    backbone.eval()
    weight = classifier.weight
    images = torch.zeros(1, 3, image_size, image_size, device=weight.device, dtype=weight.dtype)
    try:
        with torch.inference_mode():
            backbone(images)
            features = backbone_features(backbone, images)
    except (AttributeError, TypeError):
        raise ModelError(_refusal(name, "something else")) from None
    finally:
        handle.remove()
        backbone.train(was_training)
    if len(given) != 1 or given[0].shape != features.shape or not torch.allclose(given[0], features, atol=1e-4):
        raise ModelError(_refusal(name, "a layer on other features"))
    return classifier


def _refusal(name: str, kind: str) -> str:
    return (
        f"recipe=probe fits one linear layer on the features of the backbone, and the head of {name} is {kind};"
        " use recipe=finetune, or another model.name"
    )


def weights_hash(backbone: nn.Module) -> str:
    """A hash of all tensors of a backbone but those of its head, by their names; the same on every device."""
    heads = {id(parameter) for parameter in head_parameters(backbone)}
    head = {name for name, parameter in backbone.named_parameters() if id(parameter) in heads}
    return tensors_hash({name: value for name, value in backbone.state_dict().items() if name not in head})


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """A hash of tensors and their names; the same on every device, in every order and memory format."""
    found = hashlib.blake2b(digest_size=16)
    for name, value in sorted(tensors.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()
