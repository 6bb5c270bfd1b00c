"""Compares an exported ONNX file with the model it was exported from, on real images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from torch import nn

from classifier_training.errors import CheckpointError, UserError, first_line
from classifier_training.exporters.acceptance import ANSWERS_ALIKE, Rule
from classifier_training.exporters.forms import ExportSettings, ProofImages
from classifier_training.exporters.other_outputs import prove_others
from classifier_training.exporters.proof import (
    NUM_IN_BATCHES,
    NUM_IN_SMALL_BATCHES,
    Deployed,
    logits_of_model,
    name_of,
    prove,
    spread,
)
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import OnnxClassifier, softmax
from classifier_training.inference.session import logits_name, open_session

_BATCH_SIZE: Final = 7  # sessions keep the memory of their largest batch
_ADVICE: Final = "try the other exporter or another opset version"
_RUNS_NO_MODEL: Final = frozenset({"CPUExecutionProvider", "AzureExecutionProvider"})
"""Providers that are not run besides: what all is proven with, and one that sends images to a server."""
_EXACT: Final[Mapping[str, Mapping[str, str]]] = {"CUDAExecutionProvider": {"use_tf32": "0"}}
"""Options with which a provider computes in float32."""
_ROUNDS: Final = frozenset({"CoreMLExecutionProvider", "NnapiExecutionProvider", "QNNExecutionProvider"})
"""Providers that compute with fewer bits: their figures are recorded, and refuse no file."""


def compare_onnx(
    path: Path,
    model: nn.Module,
    images: ProofImages,
    settings: ExportSettings,
    rule: Rule = ANSWERS_ALIKE,
) -> dict[str, Any]:
    """Accepts a file with which onnxruntime answers like PyTorch, from the files of the images on.

    Args:
        path: The exported file.
        model: What it was exported from: on the CPU, in evaluation mode, float32.
        images: Real images. Without their files, or where the file has no card, only the network is compared.
        settings: How exact it must be.
        rule: When it is accepted.

    Returns:
        As of `proof.prove`; ``num_images``, ``tolerance``, ``sha256`` of the file, ``versions``; ``providers``, the
        figures of onnxruntime's other execution providers that are present; ``predicted``, those of `OnnxClassifier`.
        Values are ready for JSON.
    """
    figures = figures_of_file(path, len(images.prepared), settings.tolerance, versions())
    try:
        session = open_session(path, num_threads=None)
        card = DeploymentCard.from_metadata(dict(session.get_modelmeta().custom_metadata_map), str(path))
    except CheckpointError as error:
        message = str(error).replace(str(path), "it")
        reason = f"onnxruntime cannot run the exported file: {message}"
        return figures | {"stage": "network", "error": message, "reason": reason}
    images = replace(images, logits=logits_of_model(model, images))  # once for all that follows
    figures |= prove(Deployed(_runner(session), card), model, images, settings, rule, _ADVICE)
    if figures["passed"] and card is not None and images.originals:
        figures |= _predicted(path, logits_of_model(model, images), images, rule)
    if figures["passed"] and rule.is_exact:
        figures |= prove_others(session, model, some_of(images, NUM_IN_SMALL_BATCHES).prepared, settings.tolerance)
    for provider in other_providers():
        if figures["passed"]:
            figures |= _with_provider(path, provider, model, images, settings, rule, figures.get("providers", {}))
    return figures


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


def other_providers() -> list[str]:
    """The execution providers of this onnxruntime that a file is proven with besides the CPU's."""
    return [name for name in onnxruntime.get_available_providers() if name not in _RUNS_NO_MODEL]


def _runner(session: Any) -> Any:
    """Prepared images to the raw logits of a session."""
    input_name, output_name = session.get_inputs()[0].name, logits_name(session)

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run([output_name], {input_name: images})[0]
        return logits

    return run


def _predicted(path: Path, logits: NDArray[np.float32], images: ProofImages, rule: Rule) -> dict[str, Any]:
    """What `OnnxClassifier` predicts from the bytes of some files: labels and probabilities."""
    chosen = spread(len(images.originals), NUM_IN_BATCHES)
    try:
        classifier = OnnxClassifier(path)
        contents = [images.originals[position].content for position in chosen.tolist()]
        predictions = classifier.predict_images(contents, batch_size=_BATCH_SIZE)
    except UserError as error:
        reason = f"the exported file cannot be used for predictions: {str(error).replace(str(path), 'it')}"
        return {"passed": False, "stage": "decision", "reason": reason}
    card = images.card or classifier.card
    expected = softmax(logits[chosen] / (card.temperature or 1.0))
    is_same = np.array([one.label for one in predictions]) == np.array(card.classes)[expected.argmax(axis=1)]
    largest = float(np.abs(np.array([one.probabilities for one in predictions]) - expected).max())
    figures: dict[str, Any] = {
        "num_images": len(chosen),
        "top1_agreement": float(is_same.mean()),
        "max_abs_probability_difference": largest,
    }
    if rule.is_exact and not is_same.all():
        first = int(np.flatnonzero(~is_same)[0])
        image, label = name_of(images, int(chosen[first])), predictions[first].label
        reason = f"the exported file {rule.claim}: {image} differs at the stage labels: it is predicted as {label!r}"
        return {"predicted": figures, "passed": False, "image": image, "stage": "labels", "reason": reason}
    return {"predicted": figures}


def _with_provider(
    path: Path,
    provider: str,
    model: nn.Module,
    images: ProofImages,
    settings: ExportSettings,
    rule: Rule,
    others: Mapping[str, Any],
) -> dict[str, Any]:
    """The same proof with another execution provider, on some of the images; nothing where it cannot be used."""
    try:
        run = _runner(open_with_provider(path, provider))
    except Exception as error:  # a library of the device is missing, or the device
        return {"providers": {**others, provider: {"error": first_line(error)}}}
    found = prove(Deployed(run, None, provider), model, some_of(images), settings, rule)
    figures: dict[str, Any] = {"providers": {**others, provider: found}}
    if found["passed"] or provider in _ROUNDS:
        return figures
    return figures | {"passed": False, "stage": "network", "reason": f"with {provider}: {found['reason']}"}


def open_with_provider(path: Path, provider: str) -> Any:
    """A session that computes with an execution provider, exactly where it can.

    Raises:
        RuntimeError: It is not used for this file on this machine; onnxruntime raises errors of its own, too.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    wanted = (provider, dict(_EXACT.get(provider, {})))
    session = onnxruntime.InferenceSession(str(path), options, providers=[wanted])
    if provider not in session.get_providers():
        raise RuntimeError(f"{provider} cannot be used on this machine")
    return session


def some_of(images: ProofImages, num_images: int = NUM_IN_BATCHES) -> ProofImages:
    """So many of the images, from all over them, as they are prepared."""
    chosen = spread(len(images.prepared), num_images)
    logits = None if images.logits is None else images.logits[chosen]
    return ProofImages(images.prepared[chosen], logits=logits)
