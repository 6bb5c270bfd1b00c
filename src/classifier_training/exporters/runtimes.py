"""Compares an exported file with the model it was exported from, in any runtime that can be called with images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from classifier_training.exporters.forms import ProofImages
from classifier_training.exporters.verification import figures_of_file, reason_of_model

BATCH_SIZES: Final = (1, 2, 7, 64)
"""Each is run, which reveals a batch axis that was fixed."""

_MAX_MESSAGE: Final = 400
Answers = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From prepared images (N, 3, H, W) to logits (N, K)."""


def compare_runtime(
    path: Path,
    model: nn.Module,
    images: ProofImages,
    tolerance: float,
    *,
    runtime: str,
    open_file: Callable[[Path], Answers],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Accepts a file that gives the labels of PyTorch, and its logits within the tolerance.

    Args:
        path: The exported file.
        model: What it was exported from: on the CPU, in evaluation mode, float32.
        images: Real images prepared for the model; repeated where a batch needs more.
        tolerance: Largest allowed absolute difference of a logit.
        runtime: The name of what runs the file, for messages.
        open_file: Opens the file as a program that deploys it does.
        versions: Of the packages that decide what the file holds.

    Returns:
        As `compare_onnx`.
    """
    prepared = images.prepared.detach().to("cpu", torch.float32)
    with torch.no_grad():
        expected = model(prepared).numpy()
    figures = figures_of_file(path, len(prepared), tolerance, versions)
    reason = reason_of_model(expected)
    if reason is not None:
        return figures | {"max_abs_logit_difference": None, "reason": reason}
    try:
        answers = open_file(path)
        compared = [_compare(answers, prepared.numpy(), expected, size) for size in BATCH_SIZES]
    except Exception as error:  # the exceptions of the runtimes share no base class but Exception
        message = " ".join(str(error).split())[:_MAX_MESSAGE]
        return figures | {"error": message, "reason": f"{runtime} cannot run the exported file: {message}"}
    differences = [one["max_abs_logit_difference"] for one in compared]
    figures["top1_agreement"] = agreement = min(one["top1_agreement"] for one in compared)
    figures["max_abs_logit_difference"] = largest = None if None in differences else max(differences)
    figures["batch_sizes"] = compared
    if agreement == 1.0 and largest is not None and largest <= tolerance:
        return figures | {"passed": True}
    shown = "not a finite number" if largest is None else f"{largest:.3g}"
    return figures | {
        "reason": f"in {runtime} the exported file does not answer like the model: top-1 agreement {agreement:.2%}"
        f" (100% is needed), largest difference of a logit {shown} ({tolerance:g} is allowed), on"
        f" {len(prepared)} images at batch sizes {', '.join(map(str, BATCH_SIZES))}"
    }


def _compare(
    answers: Answers, images: NDArray[np.float32], expected: NDArray[np.float32], batch_size: int
) -> dict[str, Any]:
    """Runs the images in batches of exactly ``batch_size``, the last one filled up from the start."""
    order = np.arange(math.ceil(len(images) / batch_size) * batch_size) % len(images)
    logits = np.concatenate([answers(images[part]) for part in order.reshape(-1, batch_size)])
    wanted = expected[order]
    if logits.shape != wanted.shape:
        raise ValueError(f"it gives logits of shape {logits.shape} where the model gives {wanted.shape}")
    difference = float(np.abs(logits - wanted).max())
    return {
        "batch_size": batch_size,
        "top1_agreement": float((logits.argmax(axis=1) == wanted.argmax(axis=1)).mean()),
        # JSON has no NaN, and a NaN on either side is a difference
        "max_abs_logit_difference": difference if math.isfinite(difference) else None,
    }
