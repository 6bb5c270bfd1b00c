"""Writes a PyTorch classifier as one ONNX file, with either of PyTorch's two exporters."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

import onnx
import torch
from torch import Tensor, nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # public, but missing in the stubs

from classifier_training.errors import ExportError, first_line

Exporter = Literal["torchscript", "dynamo"]

OPSET_VERSIONS: Mapping[Exporter, range] = {"torchscript": range(13, 21), "dynamo": range(18, 24)}
"""What each exporter writes; asked for an older one, dynamo writes 18 and says nothing."""

INPUT_NAME = "input"
OUTPUT_NAME = "logits"
_BATCH_AXIS = "N"
# A batch of one is the one size that both exporters may take for a constant.
_TRACED_BATCH_SIZE = 2
_CHATTY_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")


def export_onnx(
    model: nn.Module,
    path: Path,
    *,
    input_height: int,
    input_width: int,
    opset_version: int = 18,
    exporter: Exporter = "torchscript",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Exports ``model`` as it is; whether the file answers like it is for `verify_onnx` to say.

    The file has one input ``input``, float32 (N, 3, H, W), and one output ``logits``, float32 (N, K); N is free.

    Args:
        model: On the CPU, in evaluation mode, float32; maps (N, 3, H, W) to (N, K).
        path: The file to write; not renamed into place here, so give a temporary one.
        input_height: H, pixels.
        input_width: W, pixels.
        opset_version: ONNX operator set, one of ``OPSET_VERSIONS[exporter]``.
        exporter: ``torchscript`` traces, ``dynamo`` goes through ``torch.export``.
        metadata: Text entries to write into the file.

    Raises:
        ExportError: The model does not fit, or PyTorch or ONNX refuse it.
    """
    if exporter not in get_args(Exporter):
        raise ExportError(f"exporter must be one of {', '.join(get_args(Exporter))}; got {exporter!r}")
    opsets = OPSET_VERSIONS[exporter]
    if opset_version not in opsets:
        raise ExportError(f"the {exporter} exporter writes opset {opsets[0]} to {opsets[-1]}; got {opset_version}")
    example = torch.zeros(_TRACED_BATCH_SIZE, 3, input_height, input_width)
    _check_model(model, example)
    try:
        with _quiet(), torch.no_grad():
            _run_exporter(model, example, path, opset_version, exporter)
        _finish(path, metadata or {})
    except Exception as error:  # the exporters raise dozens of kinds, from RuntimeError to their own
        reason = first_line(error)
        raise ExportError(
            f"PyTorch's {exporter} exporter cannot export this model with opset {opset_version}: {reason}"
        ) from error


def versions() -> dict[str, str]:
    """Versions of the packages that decide what an exported file contains."""
    found = {}
    for name in ("classifier-training", "torch", "onnx", "onnxruntime"):
        # Used from a source tree, the package itself has no installed version.
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _check_model(model: nn.Module, example: Tensor) -> None:
    size = f"{example.shape[2]} x {example.shape[3]}"
    if model.training:
        raise ExportError("the model must be in evaluation mode: call model.eval() before the export")
    try:
        with torch.no_grad():
            logits = model(example)
    except Exception as error:  # whatever the user's forward raises
        raise ExportError(f"the model refuses images of 3 channels of {size} pixels: {first_line(error)}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(example):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ExportError(f"forward must return logits (N, K) for images (N, 3, H, W); got {got}")


def _run_exporter(model: nn.Module, example: Tensor, path: Path, opset_version: int, exporter: Exporter) -> None:
    arguments: dict[str, Any] = {
        "input_names": [INPUT_NAME],
        "output_names": [OUTPUT_NAME],
        "opset_version": opset_version,
        "verbose": False,
    }
    if exporter == "torchscript":
        axes = {INPUT_NAME: {0: _BATCH_AXIS}, OUTPUT_NAME: {0: _BATCH_AXIS}}
        torch.onnx.export(model, (example,), str(path), dynamo=False, dynamic_axes=axes, **arguments)
    else:
        shapes = ({0: torch.export.Dim(_BATCH_AXIS)},)
        torch.onnx.export(
            model, (example,), str(path), dynamo=True, dynamic_shapes=shapes, external_data=False, **arguments
        )


def _finish(path: Path, metadata: Mapping[str, str]) -> None:
    """Writes the metadata and has ONNX check the graph, its types and shapes."""
    model = onnx.load(str(path))
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops the exporters' progress lines, and those of their warnings that no user can do anything about."""
    loggers = [logging.getLogger(name) for name in _CHATTY_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            _ignore_known_warnings()
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _ignore_known_warnings() -> None:
    # We choose the older exporter on purpose.
    warnings.filterwarnings("ignore", message="You are using the legacy TorchScript-based ONNX export")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(torch|onnxscript|onnx_ir|copyreg)(\.|$)")
    # Shapes that the tracer takes for constants: all but N are, and N is verified at several batch sizes.
    warnings.filterwarnings("ignore", category=TracerWarning)
    warnings.filterwarnings("ignore", message="Constant folding - Only steps=1 can be constant folded")
