"""Opens an ONNX classifier and checks that it is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

from classifier_training.errors import CheckpointError
from classifier_training.files.text import is_file, why_no_file

_ERRORS_ONLY = 3


def open_session(path: Path, num_threads: int | None) -> Any:
    """Opens an ``.onnx`` file with onnxruntime on the CPU; ``num_threads`` of None takes one per core.

    Returns:
        An ``onnxruntime.InferenceSession`` with one input (N, 3, H, W) and one output (N, K).

    Raises:
        CheckpointError: The file is missing, truncated, not ONNX, or not an image classifier.
    """
    if not is_file(path):
        raise CheckpointError(why_no_file(path, f"no such file: {path}"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if num_threads is not None:
        options.intra_op_num_threads = num_threads
    try:
        # From a path, because that is how onnxruntime finds weights that lie in a second file.
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} is not an ONNX model that can be opened, or is truncated: {reason}") from None
    _check_signature(session, path)
    return session


def _check_signature(session: Any, path: Path) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise CheckpointError(
            f"{path} cannot be used as an image classifier: it has {len(inputs)} inputs and {len(outputs)} outputs, not"
            " one of each"
        )
    shape, output_shape = inputs[0].shape, outputs[0].shape
    if inputs[0].type != "tensor(float)" or len(shape) != 4 or shape[1] != 3 or len(output_shape) != 2:
        raise CheckpointError(
            f"{path} cannot be used as an image classifier: its input is {inputs[0].type} {shape} and its output"
            f" {output_shape}, not tensor(float) (N, 3, H, W) and (N, K)"
        )
    if isinstance(shape[0], int):
        raise CheckpointError(f"{path} takes exactly {shape[0]} images at a time; export it with a dynamic batch axis")
