"""Compares the output ``features`` of an ONNX file with what the last linear layer of its model gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classifier_training.exporters.proof import BATCH_SIZES
from classifier_training.inference.session import FEATURES, output_names


def prove_features(
    session: Any, model: nn.Module, images: Tensor, tolerance: float, batch_sizes: Sequence[int] = BATCH_SIZES[:-1]
) -> dict[str, Any]:
    """Compares the features in batches of each size.

    Args:
        session: Of the file.
        model: What it was exported from: on the CPU, in evaluation mode, float32.
        images: float32 (n, 3, H, W), prepared for the model; repeated where a batch needs more.
        tolerance: Largest allowed difference, as a share of the largest value of a feature, where that is above 1.
        batch_sizes: The sizes; the logits, which are computed from the features, go through in the largest as well.

    Returns:
        ``max_relative_feature_difference``, None where it is not finite; ``passed`` and ``reason`` where it is too
        large. Nothing where the file has no such output.
    """
    if FEATURES not in output_names(session):
        return {}
    features, input_name = answer_of(model, images)[1], session.get_inputs()[0].name
    found = list[float | None]()
    for size in batch_sizes:
        order = np.resize(np.arange(len(images)), math.ceil(len(images) / size) * size)
        parts = [session.run([FEATURES], {input_name: images[part].numpy()})[0] for part in order.reshape(-1, size)]
        found.append(_difference(np.concatenate(parts), features, order))
    largest = None if None in found else max(one for one in found if one is not None)
    figures: dict[str, Any] = {"max_relative_feature_difference": largest}
    if largest is not None and largest <= tolerance:
        return figures
    difference = "by something that is not finite" if largest is None else f"by {largest:.3g} of their largest value"
    reason = (
        f"the exported file does not answer like the model: its output features differs {difference}; try the other"
        " exporter or another opset version"
    )
    return figures | {"passed": False, "stage": "network", "reason": reason}


def answer_of(model: nn.Module, images: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """What a model gives for images (n, 3, H, W).

    Returns:
        Its logits (n, K), and what the linear layer gets that gives them (n, D); None where it is not such a layer.
    """
    last: list[tuple[Tensor, Tensor]] = []
    handles = [
        module.register_forward_hook(lambda _module, inputs, output: last.append((inputs[0], output)))
        for module in model.modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.no_grad():
            logits = model(images)
    finally:
        for handle in handles:
            handle.remove()
    features = last[-1][0] if last and last[-1][1].equal(logits) else None
    return logits.numpy(), None if features is None else features.float().numpy()


def _difference(
    found: NDArray[np.float32], features: NDArray[np.float32] | None, order: NDArray[np.int64]
) -> float | None:
    """How far features are from those of the model, as a share of the largest; None: not finite, or of other shape."""
    if features is None or found.shape != (len(order), *features.shape[1:]):
        return None
    difference = float(np.abs(found - features[order]).max() / max(1.0, float(np.abs(features).max())))
    return difference if math.isfinite(difference) else None
