"""The form ``openvino``: ``model.xml`` and ``model.bin`` for OpenVINO's runtime, converted from the ONNX file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from classifier_training.errors import ExportError
from classifier_training.exporters.forms import ExportForm, ExportSettings, ProofImages
from classifier_training.exporters.onnx import export_onnx
from classifier_training.exporters.proof import Deployed
from classifier_training.exporters.runtimes import compare_runtime
from classifier_training.exporters.verification import versions
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.openvino_package import import_openvino
from classifier_training.inference.openvino_session import METADATA_KEY, WEIGHTS_SUFFIX, OpenVinoSession
from classifier_training.inference.session import LOGITS
from classifier_training.run.folder import OPENVINO


def export_openvino(
    model: nn.Module, path: Path, images: Tensor, settings: ExportSettings, metadata: Mapping[str, str]
) -> None:
    """Exports ``model`` to ONNX, and that to OpenVINO's format in float32.

    Arguments as of `export_onnx`; the entries of the metadata are in the runtime information, below
    ``classifier_training``.

    Raises:
        ConfigError: OpenVINO is not installed.
        ExportError: As of `export_onnx`, or OpenVINO refuses the file.
    """
    openvino = import_openvino()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.onnx"), Path(folder, "model.xml")
        export_onnx(model, source, images, settings, {})
        try:
            converted = openvino.Core().read_model(str(source))
            for name, text in metadata.items():
                converted.set_rt_info(text, [METADATA_KEY, name])
            openvino.save_model(converted, str(target), compress_to_fp16=False)
        except Exception as error:  # its exceptions share no base class but Exception
            raise ExportError(f"OpenVINO cannot convert the ONNX file: {' '.join(str(error).split())}") from error
        path.write_bytes(target.read_bytes())
        path.with_suffix(WEIGHTS_SUFFIX).write_bytes(target.with_suffix(WEIGHTS_SUFFIX).read_bytes())


def accept_openvino(path: Path, model: nn.Module, images: ProofImages, settings: ExportSettings) -> dict[str, Any]:
    """Accepts files that OpenVINO's CPU runtime answers with like the model, computing in float32."""
    return compare_runtime(
        path,
        model,
        images,
        settings,
        runtime="OpenVINO",
        open_file=_open,
        versions=versions("classifier-training", "torch", "onnx", "openvino"),
    )


FORM = ExportForm(OPENVINO, build=export_openvino, acceptance=accept_openvino, parts=(WEIGHTS_SUFFIX,))


def _open(path: Path) -> Deployed:
    session = OpenVinoSession(path)
    card = DeploymentCard.from_metadata(session.get_modelmeta().custom_metadata_map, str(path))
    return Deployed(lambda images: session.run([LOGITS], {"input": images})[0], card, "OpenVINO")
