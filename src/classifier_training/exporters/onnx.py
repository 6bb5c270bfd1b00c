"""The form ``onnx``: a PyTorch classifier as one ONNX file, written by either of PyTorch's two exporters."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # public, but missing in the stubs

from classifier_training.errors import ExportError, first_line
from classifier_training.exporters.exportable import check_exportable
from classifier_training.exporters.features_output import add_features_output
from classifier_training.exporters.forms import ExportForm, ExportSettings
from classifier_training.exporters.unknown_output import add_unknown_output
from classifier_training.exporters.verification import compare_onnx
from classifier_training.inference.session import LOGITS
from classifier_training.models.unknown import UnknownDetector
from classifier_training.types import OPSET_VERSIONS, Exporter

_BATCH_AXIS = "N"
# A batch of one is the one size that both exporters may take for a constant.
_TRACED_BATCH_SIZE = 2
_CHATTY_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


def export_onnx(
    model: nn.Module, path: Path, images: Tensor, settings: ExportSettings, metadata: Mapping[str, str]
) -> None:
    """Exports ``model`` as it is; `compare_onnx` shows whether the file answers like it.

    The file has one input ``input``, float32 (N, 3, H, W), and an output ``logits``, float32 (N, K); N is free. Where
    they are those of a linear layer, its input is the output ``features``, float32 (N, D). A model that has an
    `UnknownDetector` as ``unknown`` has its score as the output ``unknown_score``, float32 (N,).

    Args:
        model: On the CPU, in evaluation mode, float32; maps (N, 3, H, W) to (N, K).
        path: The file to write; not renamed into its final place here, so give a temporary one.
        images: (n, 3, H, W); their size becomes that of the input.
        settings: Exporter and operator set.
        metadata: Text entries to write into the file.

    Raises:
        ExportError: The model does not fit, or PyTorch or ONNX refuse it.
    """
    example = torch.zeros(_TRACED_BATCH_SIZE, 3, *images.shape[-2:])
    check_exportable(model, example)
    try:
        with _quiet(), _graphs_not_printed(), torch.no_grad():
            _run_exporter(model, example, path, settings)
        exported = onnx.load(str(path))
        del exported.metadata_props[:]
        onnx.helper.set_model_props(exported, dict(metadata))
        add_features_output(exported)
        _add_unknown_output(exported, model)
        onnx.checker.check_model(exported, full_check=True)
        onnx.save(exported, str(path))
    except Exception as error:  # the exporters raise dozens of kinds, from RuntimeError to their own
        raise ExportError(
            f"PyTorch's {settings.exporter} exporter cannot export this model with opset {settings.opset_version}:"
            f" {first_line(error)}; try the other exporter, {_other(settings.exporter)}"
        ) from error


FORM = ExportForm("onnx", build=export_onnx, acceptance=compare_onnx)


def _add_unknown_output(exported: onnx.ModelProto, model: nn.Module) -> None:
    unknown = getattr(model, "unknown", None)
    if isinstance(unknown, UnknownDetector) and not add_unknown_output(exported.graph, unknown.score):
        raise ExportError(
            f"the unknown score {unknown.card.kind} of this model needs its features, and its graph does not give them"
        )


def _run_exporter(model: nn.Module, example: Tensor, path: Path, settings: ExportSettings) -> None:
    arguments: dict[str, Any] = {
        "input_names": ["input"],
        "output_names": [LOGITS],
        "opset_version": settings.opset_version,
        "verbose": False,
    }
    if settings.exporter == "torchscript":
        arguments |= {"dynamo": False, "dynamic_axes": {"input": {0: _BATCH_AXIS}, LOGITS: {0: _BATCH_AXIS}}}
    else:
        shapes = ({0: torch.export.Dim(_BATCH_AXIS)},)
        arguments |= {"dynamo": True, "dynamic_shapes": shapes, "external_data": False}
    torch.onnx.export(model, (example,), str(path), **arguments)


def _other(exporter: Exporter) -> Exporter:
    return next(name for name in OPSET_VERSIONS if name != exporter)


@contextlib.contextmanager
def _graphs_not_printed() -> Iterator[None]:
    """Keeps off the log of whole graphs, which PyTorch 2.15 switches on for every export, past Python's streams."""
    name = "_jit_set_onnx_log_enabled"
    original = getattr(torch._C, name, None)
    if original is None:  # a later version
        yield
        return
    setattr(torch._C, name, lambda _enabled: None)
    try:
        yield
    finally:
        setattr(torch._C, name, original)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops the exporters' progress lines, and those of their warnings that no user can do anything about."""
    loggers = [logging.getLogger(name) for name in _CHATTY_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            # The older exporter is chosen on purpose.
            warnings.filterwarnings("ignore", message="You are using the legacy TorchScript-based ONNX export")
            modules = r"(torch|onnxscript|onnx_ir|copyreg)(\.|$)"
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=modules)
            # Shapes that the tracer takes for constants: all but N are, and N is verified at several batch sizes.
            warnings.filterwarnings("ignore", category=TracerWarning)
            warnings.filterwarnings("ignore", message="Constant folding - Only steps=1 can be constant folded")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
