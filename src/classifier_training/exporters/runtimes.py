"""Compares an exported file with the model it was exported from, in any runtime that can be called with images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from torch import nn

from classifier_training.exporters.forms import ExportSettings, ProofImages
from classifier_training.exporters.proof import Deployed, prove
from classifier_training.exporters.verification import figures_of_file

_MAX_MESSAGE: Final = 400


def compare_runtime(
    path: Path,
    model: nn.Module,
    images: ProofImages,
    settings: ExportSettings,
    *,
    runtime: str,
    open_file: Callable[[Path], Deployed],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Accepts a file that gives the labels of PyTorch, and its logits within the tolerance.

    Args:
        path: The exported file.
        model: What it was exported from: on the CPU, in evaluation mode, float32.
        images: Real images.
        settings: How exact it must be.
        runtime: The name of what runs the file, for messages.
        open_file: Opens the file as a program that deploys it does.
        versions: Of the packages that decide what the file holds.

    Returns:
        As of `proof.prove`; ``num_images``, ``tolerance``, ``sha256`` of the file, ``versions``.
    """
    figures = figures_of_file(path, len(images.prepared), settings.tolerance, versions)
    try:
        deployed = open_file(path)
    except Exception as error:  # the exceptions of the runtimes share no base class but Exception
        message = " ".join(str(error).split())[:_MAX_MESSAGE]
        return figures | {"error": message, "reason": f"{runtime} cannot run the exported file: {message}"}
    return figures | prove(deployed, model, images, settings)
