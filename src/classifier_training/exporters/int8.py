"""The form ``int8``: an ONNX file whose layers compute with 8-bit integers, the way that is best on this CPU."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from torch import nn

from classifier_training.errors import ExportError, first_line
from classifier_training.exporters.acceptance import AS_ACCURATE
from classifier_training.exporters.forms import CalibrationImages, ExportForm, ExportSettings, ProofImages
from classifier_training.exporters.judged_logits import JudgedLogits
from classifier_training.exporters.onnx import export_onnx
from classifier_training.exporters.quantization import Quantizer
from classifier_training.exporters.scheme_trials import Trial, Trials, choose, worth_repairing
from classifier_training.exporters.verification import compare_onnx
from classifier_training.inference.session import FORM_ENTRY
from classifier_training.run.environment import cpu_model
from classifier_training.run.folder import INT8


def convert_to_int8(path: Path, model: nn.Module, images: ProofImages, settings: ExportSettings) -> dict[str, Any]:
    """Replaces a float32 file by the fastest quantised one that is accurate and faster than it.

    Args:
        path: The float32 file, which is replaced where there is such a quantised one.
        model: What it was exported from: on the CPU, in evaluation mode, float32.
        images: Labelled validation images, which judge, and training images, which calibrate.
        settings: How many images calibrate, what may be lost, and what has to be gained.

    Returns:
        ``calibration``, ``schemes``, a row each for a table, the ``cpu`` of the timings, and the ``scheme`` that was
        taken; ``passed`` is False, with a ``reason``, where none is.

    Raises:
        ExportError: There are no images to calibrate or to judge with, or onnxruntime cannot quantise the network.
    """
    if images.calibration is None:
        raise ExportError(
            "the form int8 is made by training and validation images: without them there is none, not even unproven"
        )
    calibration = images.calibration(settings.calibration_images)
    wanted = JudgedLogits(model, images)
    figures: dict[str, Any] = {"calibration": {"num_images": len(calibration.prepared), "sha256": calibration.sha256}}
    figures["top1_of_model"] = wanted.top1
    with tempfile.TemporaryDirectory() as folder:
        quantizer = _quantizer(path, calibration, Path(folder))
        trials = Trials(quantizer, path, wanted, settings, Path(folder))
        trials.try_schemes()
        chosen, reason = choose(trials.all, settings)
        scheme = None if chosen is not None else worth_repairing(trials.all, settings)
        if scheme is not None:
            trials.try_float_layers(scheme, calibration.prepared)
            chosen, reason = choose(trials.all, settings)
        figures |= {"cpu": cpu_model(), "float_bytes": path.stat().st_size}
        figures["schemes"] = [trial.to_json() for trial in trials.all]
        if chosen is None:
            return figures | {"passed": False, "reason": reason}
        _take(chosen, path)
    return figures | {"scheme": chosen.scheme.name, "float_layers": list(chosen.float_layers)}


FORM = ExportForm(INT8, build=export_onnx, convert=convert_to_int8, acceptance=partial(compare_onnx, rule=AS_ACCURATE))


def _quantizer(path: Path, calibration: CalibrationImages, folder: Path) -> Quantizer:
    try:
        return Quantizer(path, calibration.prepared, folder)
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        raise ExportError(f"onnxruntime cannot quantise this model: {first_line(error)}") from error


def _take(chosen: Trial, path: Path) -> None:
    """Puts a quantised file into the place of the float one, and says in it what it is."""
    quantized = onnx.load(str(chosen.path))
    metadata = {entry.key: entry.value for entry in quantized.metadata_props}
    how = {"scheme": chosen.scheme.name, "float_layers": list(chosen.float_layers)}
    del quantized.metadata_props[:]
    onnx.helper.set_model_props(quantized, {**metadata, FORM_ENTRY: INT8, "quantization": json.dumps(how)})
    onnx.save(quantized, str(path))
