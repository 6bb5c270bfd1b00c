"""Compares an exported ONNX file with the model it was exported from, on real images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classifier_training.inference.session import FEATURES, logits_name, open_session, output_names

BATCH_SIZES = (1, 2, 7)


def compare_onnx(
    path: Path, model: nn.Module, images: Tensor, tolerance: float = 1e-3, batch_sizes: Sequence[int] = BATCH_SIZES
) -> dict[str, Any]:
    """Accepts a file with which onnxruntime gives the labels of PyTorch, and its logits within the tolerance.

    Args:
        path: The exported file.
        model: What it was exported from: on the CPU, in evaluation mode, float32.
        images: float32 (n, 3, H, W), real images prepared for the model; repeated where a batch needs more.
        tolerance: Largest allowed absolute difference of a logit.
        batch_sizes: Each is run, which reveals an exporter that fixed the batch axis.

    Returns:
        ``passed``, and ``reason`` if not; ``top1_agreement`` in [0, 1] and ``max_abs_logit_difference`` over all batch
        sizes, and both for each of ``batch_sizes``; ``num_images``, ``tolerance``, ``sha256`` of the file,
        ``versions``. If onnxruntime cannot run the file, ``error`` has its message and nothing is measured, as for a
        model whose logits are not finite numbers. Values are ready for JSON.
    """
    images = images.detach().to("cpu", torch.float32)
    expected, features = answer_of(model, images)
    figures = figures_of_file(path, len(images), tolerance, versions())
    reason = reason_of_model(expected)
    if reason is not None:
        return figures | {"max_abs_logit_difference": None, "reason": reason}
    try:
        session = open_session(path, num_threads=None)
        compared = [_compare(session, images.numpy(), expected, features, size) for size in batch_sizes]
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        message = " ".join(str(error).split())
        return figures | {"error": message, "reason": f"onnxruntime cannot run the exported file: {message}"}
    differences = [one["max_abs_logit_difference"] for one in compared]
    figures["top1_agreement"] = min(one["top1_agreement"] for one in compared)
    figures["max_abs_logit_difference"] = largest = None if None in differences else max(differences)
    figures["batch_sizes"] = compared
    if figures["top1_agreement"] == 1.0 and largest is not None and largest <= tolerance:
        reason = _reason_of_features(compared, tolerance)
        return figures | ({"passed": True} if reason is None else {"reason": reason})
    return figures | {"reason": _reason(figures)}


def figures_of_file(path: Path, num_images: int, tolerance: float, versions: Mapping[str, str]) -> dict[str, Any]:
    """The figures of an exported file before it is compared: what it is, and that it has not passed."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    figures: dict[str, Any] = {"passed": False, "num_images": num_images, "tolerance": tolerance}
    return figures | {"sha256": sha256, "versions": dict(versions)}


def versions(*names: str) -> dict[str, str]:
    """Versions of the packages that decide what an exported file contains; none named: those of an ONNX file."""
    names = names or ("classifier-training", "torch", "onnx", "onnxruntime")
    installed = {name: list(metadata.distributions(name=name)) for name in names}  # a source tree is not installed
    return {name: found[0].version for name, found in installed.items() if found}


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


def _compare(
    session: Any,
    images: NDArray[np.float32],
    expected: NDArray[Any],
    features: NDArray[np.float32] | None,
    batch_size: int,
) -> dict[str, Any]:
    """Runs the images in batches of exactly ``batch_size``, the last one filled up from the start."""
    num_batches = math.ceil(len(images) / batch_size)
    order = np.arange(num_batches * batch_size) % len(images)
    input_name = session.get_inputs()[0].name
    names = [logits_name(session), *([FEATURES] if FEATURES in output_names(session) else [])]
    batches = [
        session.run(names, {input_name: images[order[start : start + batch_size]]})
        for start in range(0, len(order), batch_size)
    ]
    (logits, *others), wanted = (np.concatenate(parts) for parts in zip(*batches, strict=True)), expected[order]
    if logits.shape != wanted.shape:
        raise ValueError(f"it gives logits of shape {logits.shape} where the model gives {wanted.shape}")
    difference = float(np.abs(logits - wanted).max())
    measured = (
        {} if not others else {"max_relative_feature_difference": _feature_difference(others[0], features, order)}
    )
    return measured | {
        "batch_size": batch_size,
        "top1_agreement": float((logits.argmax(axis=1) == wanted.argmax(axis=1)).mean()),
        # JSON has no NaN, and a NaN on either side is a difference
        "max_abs_logit_difference": difference if math.isfinite(difference) else None,
    }


def _feature_difference(
    found: NDArray[np.float32], features: NDArray[np.float32] | None, order: NDArray[np.int64]
) -> float | None:
    """How far features are from those of the model, as a share of the largest; None: not finite, or of other shape."""
    if features is None or found.shape != (len(order), *features.shape[1:]):
        return None
    difference = float(np.abs(found - features[order]).max() / max(1.0, float(np.abs(features).max())))
    return difference if math.isfinite(difference) else None


def _reason_of_features(compared: Sequence[dict[str, Any]], tolerance: float) -> str | None:
    """Why the features of a file are not those of the model; None: they are, or it has none."""
    name = "max_relative_feature_difference"
    found = [one[name] for one in compared if name in one]
    if not found or (None not in found and max(found) <= tolerance):
        return None
    difference = "by something that is not finite" if None in found else f"by {max(found):.3g} of their largest value"
    return (
        f"the exported file does not answer like the model: its output features differs {difference}; try the other"
        " exporter or another opset version"
    )


def reason_of_model(logits: NDArray[Any]) -> str | None:
    """Why a model cannot be exported whose logits (n, K) are these; None: it can."""
    num_wrong = int((~np.isfinite(logits).all(axis=1)).sum())
    if not num_wrong:
        return None
    return (
        f"a logit of the model itself is not a finite number for {num_wrong} of {len(logits)} images: its"
        " training diverged; export other weights"
    )


def _reason(figures: dict[str, Any]) -> str:
    largest = figures["max_abs_logit_difference"]
    difference = "not a finite number" if largest is None else f"{largest:.3g}"
    sizes = ", ".join(str(one["batch_size"]) for one in figures["batch_sizes"])
    return (
        f"the exported file does not answer like the model: top-1 agreement {figures['top1_agreement']:.2%} (100% is"
        f" needed), largest difference of a logit {difference} ({figures['tolerance']:g} is allowed), on"
        f" {figures['num_images']} images at batch sizes {sizes}; try the other exporter or another opset version"
    )
