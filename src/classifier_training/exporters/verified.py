"""Export, proof and the files beside the model, as one step that leaves no unproven file behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from classifier_training.errors import ExportError
from classifier_training.exporters.onnx import Exporter, export_onnx, versions
from classifier_training.exporters.verification import compare_onnx, require_passed
from classifier_training.files.atomic import atomic_path, write_json
from classifier_training.inference.labels import LABELS_MAPPING, Labels, labels_mapping, labels_metadata

VERIFICATION = "verification.json"


def export_verified(
    model: nn.Module,
    path: Path,
    images: Tensor,
    *,
    opset_version: int = 18,
    exporter: Exporter = "torchscript",
    tolerance: float = 1e-3,
    labels: Labels | None = None,
    record: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Exports ``model`` to ``path`` only if the file answers like it.

    Beside it come ``verification.json`` and, where ``labels`` are known, ``labels_mapping.json``. If anything
    fails there is no file at ``path`` afterwards, not even an older one: that would hold other weights.

    Args:
        model: On the CPU, in evaluation mode, float32.
        path: The ``.onnx`` file.
        images: float32 (n, 3, H, W), real images prepared for the model; H and W become those of the input.
        opset_version: ONNX operator set, one of ``OPSET_VERSIONS[exporter]``.
        exporter: ``torchscript`` or ``dynamo``.
        tolerance: Largest allowed absolute difference of a logit.
        labels: Class names and preprocessing; None leaves them out of the metadata too.
        record: Further entries for ``verification.json``, such as which weights these are.

    Returns:
        What ``verification.json`` holds.

    Raises:
        ExportError: The model cannot be exported.
        VerificationError: The file does not answer like the model; the figures are in ``verification.json``.
    """
    verification = path.with_name(VERIFICATION)
    figures: dict[str, Any] = {"passed": False, "exporter": exporter, "opset_version": opset_version, **(record or {})}
    metadata = {"versions": json.dumps(versions())} | (labels_metadata(labels) if labels else {})
    height, width = images.shape[-2:]
    try:
        with atomic_path(path) as temporary:
            export_onnx(
                model,
                temporary,
                input_height=height,
                input_width=width,
                opset_version=opset_version,
                exporter=exporter,
                metadata=metadata,
            )
            figures |= compare_onnx(temporary, model, images, tolerance=tolerance)
            require_passed(figures)
    except ExportError as error:
        path.unlink(missing_ok=True)
        write_json(verification, figures | {"reason": str(error)})
        raise
    if labels is not None:
        write_json(path.with_name(LABELS_MAPPING), labels_mapping(labels.classes, labels.preprocessing))
    write_json(verification, figures)
    return figures
