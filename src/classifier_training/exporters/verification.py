"""Proves that an exported file answers like the model that was trained, on real images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classifier_training.errors import VerificationError
from classifier_training.exporters.onnx import INPUT_NAME, OUTPUT_NAME, versions

BATCH_SIZES = (1, 2, 7)
_ERRORS_ONLY = 3


def verify_onnx(
    path: Path,
    model: nn.Module,
    images: Tensor,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    tolerance: float = 1e-3,
) -> dict[str, Any]:
    """Compares onnxruntime with PyTorch, and raises where they differ.

    Args:
        path: The exported file.
        model: What it was exported from: on the CPU, in evaluation mode, float32.
        images: float32 (n, 3, H, W), real images prepared for the model; repeated where a batch needs more.
        batch_sizes: Each is really run; an exporter that fixed the batch axis is found out.
        tolerance: Largest allowed absolute difference of a logit.

    Returns:
        The figures, see `compare_onnx`.

    Raises:
        VerificationError: The top class of an image differs, or a logit does by more than ``tolerance``.
    """
    figures = compare_onnx(path, model, images, batch_sizes=batch_sizes, tolerance=tolerance)
    require_passed(figures)
    return figures


def compare_onnx(
    path: Path,
    model: nn.Module,
    images: Tensor,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    tolerance: float = 1e-3,
) -> dict[str, Any]:
    """Measures how far onnxruntime and PyTorch differ, at several batch sizes; arguments as `verify_onnx`.

    Returns:
        ``passed``; ``top1_agreement`` in [0, 1] and ``max_abs_logit_difference`` over all batch sizes, and the same
        two for each of ``batch_sizes``; ``num_images``, ``tolerance``, ``sha256`` of the file, ``versions``. If
        onnxruntime cannot run the file, ``error`` says why and nothing is measured. Values are ready for JSON.
    """
    images = images.detach().to("cpu", torch.float32)
    with torch.no_grad():
        expected = model(images).numpy()
    figures: dict[str, Any] = {
        "passed": False,
        "num_images": len(images),
        "tolerance": tolerance,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "versions": versions(),
    }
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        compared = [_compare(session, images.numpy(), expected, size) for size in batch_sizes]
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        return figures | {"error": " ".join(str(error).split())}
    differences = [one["max_abs_logit_difference"] for one in compared]
    largest = None if None in differences else max(differences)
    agreement = min(one["top1_agreement"] for one in compared)
    return figures | {
        "passed": agreement == 1.0 and largest is not None and largest <= tolerance,
        "top1_agreement": agreement,
        "max_abs_logit_difference": largest,
        "batch_sizes": compared,
    }


def require_passed(figures: dict[str, Any]) -> None:
    """Raises unless the figures of `compare_onnx` are good enough.

    Raises:
        VerificationError: They are not; the figures are in the message.
    """
    if figures["passed"]:
        return
    if "error" in figures:
        raise VerificationError(f"onnxruntime cannot run the exported file: {figures['error']}")
    largest = figures["max_abs_logit_difference"]
    difference = "not a finite number" if largest is None else f"{largest:.3g}"
    sizes = ", ".join(str(one["batch_size"]) for one in figures["batch_sizes"])
    raise VerificationError(
        f"the exported file does not answer like the model: top-1 agreement {figures['top1_agreement']:.2%} (100% is"
        f" needed), largest difference of a logit {difference} ({figures['tolerance']:g} is allowed), on"
        f" {figures['num_images']} images at batch sizes {sizes}; try the other exporter or another opset version"
    )


def _compare(session: Any, images: NDArray[np.float32], expected: NDArray[Any], batch_size: int) -> dict[str, Any]:
    """Runs the images in batches of exactly ``batch_size``, the last one filled up from the start."""
    num_batches = math.ceil(len(images) / batch_size)
    order = np.arange(num_batches * batch_size) % len(images)
    batches = [
        session.run([OUTPUT_NAME], {INPUT_NAME: images[order[start : start + batch_size]]})[0]
        for start in range(0, len(order), batch_size)
    ]
    logits, wanted = np.concatenate(batches), expected[order]
    if logits.shape != wanted.shape:
        raise ValueError(f"it gives logits of shape {logits.shape} where the model gives {wanted.shape}")
    difference = float(np.abs(logits - wanted).max())
    return {
        "batch_size": batch_size,
        "top1_agreement": float((logits.argmax(axis=1) == wanted.argmax(axis=1)).mean()),
        # A NaN on either side is no agreement, and JSON has no word for it.
        "max_abs_logit_difference": difference if math.isfinite(difference) else None,
    }
