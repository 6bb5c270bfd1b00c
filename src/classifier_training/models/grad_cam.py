"""Grad-CAM: which part of an image supports a prediction."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import preprocess
from classifier_training.metrics.scores import Predictions
from classifier_training.types import Decoding, ImageRecord
from classifier_training.warn import warn_instead_of_raise

if TYPE_CHECKING:
    from classifier_training.models.base import BaseClassificationModel

_BATCH_SIZE: Final = 8  # gradients are kept for every layer, so the memory of a training step is needed
_MAX_TRIES: Final = 6


def grad_cam_maps(backbone: nn.Module, images: Tensor, targets: Tensor) -> NDArray[np.float32] | None:
    r"""The positions that support a class, at the resolution of the last layer whose output still lies over the image.

    With the activations $A^k$ of that layer's channels $k$ and the logit $y^c$ of the class, at the positions $i$:

    $$L = \mathrm{ReLU}\left(\sum_k \alpha_k A^k\right), \qquad
      \alpha_k = \frac{1}{n} \sum_i \frac{\partial y^c}{\partial A^k_i}$$

    divided by its largest value in each image (Selvaraju et al., "Grad-CAM", ICCV 2017). The patch tokens of a
    transformer are taken for positions, its other tokens are left out. Where the last layer's positions do not reach
    the logits, as behind the last attention to a class token, an earlier layer is taken.

    Neither the backbone nor any random state is changed, and no gradient is kept.

    Letters: B batch size, S image size, h and w height and width of the map.

    Args:
        backbone: A timm model, or any module from images to logits.
        images: float32 (B, 3, S, S), normalised, where the backbone is.
        targets: int64 (B,), classes in [0, K).

    Returns:
        float32 (B, h, w) in [0, 1]; None where the backbone has no such layer.
    """
    maps: list[Tensor] = []
    with _evaluation_mode(backbone), torch.inference_mode(mode=False), torch.enable_grad():
        images, targets = images.detach().clone(), targets.detach().clone()
        layer = _find_layer(backbone, images[:1], targets[:1])
        if layer is None:
            return None
        for start in range(0, len(images), _BATCH_SIZE):
            part = slice(start, start + _BATCH_SIZE)
            found = _attribute(backbone, layer, images[part], targets[part])
            if found is not None:
                maps.append(found)
    positive = torch.cat(maps).clamp(min=0)
    largest = positive.amax(dim=(1, 2), keepdim=True)
    scaled: NDArray[np.float32] = (positive / largest.where(largest > 0, 1)).numpy()
    return scaled


def cam_function(
    model: BaseClassificationModel,
    records: Sequence[ImageRecord],
    predictions: Predictions,
    device: torch.device,
    *,
    decoding: Decoding | None = None,
) -> Callable[[list[int]], Mapping[int, NDArray[np.float32]]]:
    """Makes the function that computes the maps of some images, each for its predicted class.

    A failure, or a backbone without positions, becomes a warning, and there are no maps.

    Args:
        model: Is on ``device``.
        records: Where the N images of the split are.
        predictions: Those of the model, whose classes are explained.
        device: Where to compute.
        decoding: As of `decode_image`; None: the model's own.
    """
    how = decoding or model.preprocessing.decoding

    def maps_of(indices: list[int]) -> Mapping[int, NDArray[np.float32]]:
        if not indices:
            return {}
        with warn_instead_of_raise("Grad-CAM"):
            inputs = [preprocess(decode_image(records[index], decoding=how), model.preprocessing) for index in indices]
            images = torch.from_numpy(np.stack(inputs)).to(device)
            targets = torch.from_numpy(predictions.predicted[indices]).to(device)
            maps = grad_cam_maps(model.backbone, images, targets)
            if maps is not None:
                return dict(zip(indices, maps, strict=True))
            name = type(model.backbone).__name__
            warnings.warn(f"no Grad-CAM: no layer of {name} has an output that lies over the image", stacklevel=2)
        return {}

    return maps_of


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer whose output lies over the image.

    Attributes:
        module: The layer.
        num_channels: Channels of its output; None: unknown, and channels come first.
        num_prefix_tokens: Tokens before those of the patches.
    """

    module: nn.Module
    num_channels: int | None
    num_prefix_tokens: int

    def split(self, output: Any) -> tuple[Tensor, Callable[[Tensor], Tensor]] | None:
        """The output as (B, C, h, w), and how that becomes the output again; None where it does not lie so."""
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return None
        if output.ndim == 4:
            is_last = self.num_channels == output.shape[3] and self.num_channels != output.shape[1]
            found = output.permute(0, 3, 1, 2) if is_last else output
            back = (lambda values: values.permute(0, 2, 3, 1)) if is_last else (lambda values: values)
            return (found, back) if found.shape[2] * found.shape[3] > 1 else None
        return self._split_tokens(output) if output.ndim == 3 else None

    def _split_tokens(self, output: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]] | None:
        for num_prefix in (self.num_prefix_tokens, 0):
            side = math.isqrt(max(0, output.shape[1] - num_prefix))
            if side < 2 or side**2 != output.shape[1] - num_prefix:
                continue
            prefix, patches = output[:, :num_prefix], output[:, num_prefix:]
            found = patches.transpose(1, 2).reshape(len(output), -1, side, side)
            return found, lambda values, prefix=prefix: torch.cat([prefix, values.flatten(2).transpose(1, 2)], dim=1)
        return None


def _find_layer(backbone: nn.Module, image: Tensor, target: Tensor) -> _Layer | None:
    """The last layer with positions that matter to the logits; the last with positions where none does."""
    last: _Layer | None = None
    for layer in _candidates(backbone, image)[:_MAX_TRIES]:
        found = _attribute(backbone, layer, image, target)
        if found is not None and found.count_nonzero():
            return layer
        last = last or (None if found is None else layer)
    return last


def _candidates(backbone: nn.Module, image: Tensor) -> list[_Layer]:
    """Layers that may have positions, the last one first."""
    num_prefix = getattr(backbone, "num_prefix_tokens", 0)
    num_prefix = num_prefix if isinstance(num_prefix, int) else 0
    features = getattr(backbone, "feature_info", None)
    if features is None:
        return [_Layer(module, None, num_prefix) for module in _convolutions(backbone, image)]
    found: list[_Layer] = []
    for info in reversed(list(features)):
        if not isinstance(info, Mapping) or "module" not in info:
            continue
        try:
            module = backbone.get_submodule(str(info["module"]))
        except AttributeError:
            continue
        found.append(_Layer(module, info.get("num_chs"), num_prefix))
        norm = getattr(module, "norm1", None)  # what the last attention still mixes
        if isinstance(norm, nn.Module):
            found.append(_Layer(norm, info.get("num_chs"), num_prefix))
    return found


def _convolutions(backbone: nn.Module, image: Tensor) -> list[nn.Module]:
    """Of a module that is not timm's: its convolutions, the one that is called last first."""
    seen: dict[nn.Module, None] = {}

    def note(module: nn.Module, arguments: Any, output: Any) -> None:  # noqa: ARG001 - torch's signature
        seen.pop(module, None)
        seen[module] = None

    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    handles = [module.register_forward_hook(note) for module in convolutions]
    try:
        with torch.no_grad():
            backbone.forward(image)
    finally:
        for handle in handles:
            handle.remove()
    return list(reversed(seen))


def _attribute(backbone: nn.Module, layer: _Layer, images: Tensor, targets: Tensor) -> Tensor | None:
    """Grad-CAM before the ReLU: float32 (B, h, w), on the CPU; None where the layer's output does not lie so."""
    seen: list[Tensor] = []

    def note_activations(module: nn.Module, arguments: Any, output: Any) -> Any:  # noqa: ARG001 - torch's signature
        parts = layer.split(output)
        if parts is None or seen:
            return output
        activations, join = parts
        seen.append(activations.detach().requires_grad_())  # nothing below this layer needs a gradient
        return join(seen[0]).clone()  # the next layer may write into it

    handle = layer.module.register_forward_hook(note_activations)
    try:  # a frozen backbone has gradients only if its input has; a call may have been replaced by torch.compile
        logits = backbone.forward(images.detach().requires_grad_()).float()
    finally:
        handle.remove()
    if not seen:
        return None
    target_logits = logits.gather(1, targets[:, None]).sum()
    (gradients,) = torch.autograd.grad(target_logits, seen, materialize_grads=True)
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    return (weights * seen[0]).sum(dim=1).detach().float().cpu()


@contextmanager
def _evaluation_mode(backbone: nn.Module) -> Iterator[None]:
    """Sets evaluation mode, full precision, and what a gradient needs, for a block."""
    modes = [(module, module.training) for module in backbone.modules()]
    device = next(backbone.parameters()).device.type
    try:
        backbone.eval()
        with torch.autocast(device, enabled=False), warnings.catch_warnings():
            # a step that must be repeatable to the bit asks for more than an image does
            warnings.filterwarnings("ignore", message=".*deterministic")
            yield
    finally:
        for module, mode in modes:
            module.training = mode
