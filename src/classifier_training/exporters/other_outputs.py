"""Compares the outputs of an ONNX file besides its logits with what its model gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classifier_training.exporters.proof import BATCH_SIZES
from classifier_training.inference.session import FEATURES, LOGITS, UNKNOWN_SCORE, output_names
from classifier_training.models.unknown import UnknownDetector

OTHERS: Final[tuple[str, ...]] = (FEATURES, UNKNOWN_SCORE)
"""The outputs besides the logits that a file may have."""
_UNLIKE: Final = "the exported file does not answer like the model"
_ADVICE: Final = "try the other exporter or another opset version"


def outputs_of(model: nn.Module, images: Tensor) -> dict[str, NDArray[np.float32]]:
    """The outputs of a model for images (n, 3, H, W), by the names that they have in a file.

    ``logits`` (n, K); ``features`` (n, D), what the linear layer gets that gives the logits, if it is such a layer;
    ``unknown_score`` (n,), if the model has one.
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
    found = {LOGITS: logits.numpy()}
    if last and last[-1][1].equal(logits):
        found[FEATURES] = last[-1][0].float().numpy()
    unknown = getattr(model, "unknown", None)
    if isinstance(unknown, UnknownDetector):
        found[UNKNOWN_SCORE] = unknown.score(found[LOGITS], found.get(FEATURES))
    return found


def prove_others(
    session: Any, model: nn.Module, images: Tensor, tolerance: float, batch_sizes: Sequence[int] = BATCH_SIZES
) -> dict[str, Any]:
    """Compares the outputs besides the logits in batches of each size.

    Args:
        session: Of the file.
        model: What it was exported from: on the CPU, in evaluation mode, float32.
        images: float32 (n, 3, H, W), prepared for the model; repeated where a batch needs more.
        tolerance: Largest allowed difference, as a share of the largest value of an output, where that is above 1.
        batch_sizes: The sizes.

    Returns:
        ``relative_differences`` by output, None where it is not finite; ``passed`` and ``reason`` where one is too
        large, or where the model has an unknown score and the file does not.
    """
    expected, names = outputs_of(model, images), [name for name in OTHERS if name in output_names(session)]
    refused: dict[str, Any] = {"passed": False, "stage": "network"}
    if UNKNOWN_SCORE in expected and UNKNOWN_SCORE not in names:
        return refused | {"reason": f"{_UNLIKE}: it has no output {UNKNOWN_SCORE}; export it again"}
    found: dict[str, list[float | None]] = {name: [] for name in names}
    for size in batch_sizes if names else ():
        order = np.resize(np.arange(len(images)), math.ceil(len(images) / size) * size)
        input_name = session.get_inputs()[0].name
        parts = [session.run(names, {input_name: images[part].numpy()}) for part in order.reshape(-1, size)]
        for name, values in zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True):
            found[name].append(_difference(values, expected[name][order]) if name in expected else None)
    largest = {name: None if None in all_ else max(filter(None, all_), default=0.0) for name, all_ in found.items()}
    figures: dict[str, Any] = {"relative_differences": largest} if names else {}
    for name, difference in largest.items():
        if difference is None or difference > tolerance:
            far = "something that is not finite" if difference is None else f"{difference:.3g} of its largest value"
            return figures | refused | {"reason": f"{_UNLIKE}: its output {name} differs by {far}; {_ADVICE}"}
    return figures


def _difference(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float | None:
    """How far values are from those of the model, as a share of the largest; None: not finite, or of another shape."""
    if found.shape != wanted.shape:
        return None
    difference = float(np.abs(found - wanted).max() / max(1.0, float(np.abs(wanted).max())))
    return difference if math.isfinite(difference) else None
