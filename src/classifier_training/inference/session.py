"""Opens an ONNX classifier and checks that it is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import onnxruntime

from classifier_training.errors import CheckpointError, RunError
from classifier_training.files.text import did_you_mean, exists, is_file, why_no_file
from classifier_training.inference.openvino_session import OpenVinoSession
from classifier_training.run.folder import DEPLOYED_SUFFIXES, END_TO_END, OPENVINO_SUFFIX, open_run

FORM_ENTRY: Final = "form"
"""The entry of a file's metadata that names its form; a file of the form ``onnx`` has none."""
END_TO_END_INPUT: Final = "images"
"""uint8 (N, H, W, 3), RGB, of any size."""
END_TO_END_OUTPUTS: Final = ("label_index", "probabilities", "logits")
"""int64 (N,), float32 (N, K) and float32 (N, K)."""
PREDICTION_SET: Final = "prediction_set"
"""Output of the form ``end-to-end``, bool (N, K): the classes whose probability is at least ``set_threshold``."""
ABSTAIN: Final = "abstain"
"""Output of the form ``end-to-end``, bool (N,): the highest probability is below ``abstain_threshold``. Another one,
``unknown``, bool (N,): the unknown score is above ``unknown_threshold``."""
THRESHOLDS: Final = ("abstain_threshold", "set_threshold", "unknown_threshold")
"""Inputs of the form ``end-to-end``, float32 scalars, which need not be given: the file has their defaults."""
LOGITS: Final = "logits"
FEATURES: Final = "features"
"""Output of a file of the form ``onnx`` whose last layer is linear: what that layer gets, float32 (N, D)."""
UNKNOWN_SCORE: Final = "unknown_score"
"""Output of a file whose model has such a score, float32 (N,); the higher it is, the less an image is known."""
FURTHER_OUTPUTS: Final = (FEATURES, UNKNOWN_SCORE)
"""Outputs that a file may have besides those that predictions are made of."""
_NOT_RUN: Final = frozenset({".pt2", ".safetensors", ".bin"})
_ERRORS_ONLY = 3


def onnx_file(model: Path) -> Path:
    """The ``.onnx`` file itself, or that of a run folder.

    Raises:
        RunError: There is none.
    """
    if model.suffix == ".ckpt":
        raise RunError(
            f"{model} is a checkpoint, which PyTorch runs: open it with"
            " classifier_training.models.CheckpointClassifier, or name its run folder or the .onnx file of an export"
        )
    if not exists(model):
        raise RunError(f"there is no {model}; name a run folder or an .onnx file{did_you_mean(model)}")
    if not model.is_dir():
        return model
    onnx = open_run(model).onnx
    if not onnx.is_file():
        raise RunError(f"{model} has no export/model.onnx; create it: classifier-training export {model}")
    return onnx


def open_session(path: Path, num_threads: int | None) -> Any:
    """Opens an ``.onnx`` file with onnxruntime on the CPU; ``num_threads`` of None takes one per core.

    Returns:
        An ``onnxruntime.InferenceSession``, of an ``.xml`` file an `OpenVinoSession`, with one input (N, 3, H, W) and
        an output (N, K), see `logits_name`, or with the input and the outputs of the form ``end-to-end``, see
        `is_end_to_end`.

    Raises:
        CheckpointError: The file is missing, truncated, not ONNX, or not an image classifier.
    """
    if not is_file(path):
        raise CheckpointError(why_no_file(path, f"no such file: {path}"))
    if path.suffix in _NOT_RUN:
        raise CheckpointError(
            f"{path} is of a form that this program writes for others and does not run; name the run folder, or its"
            f" {' or '.join(f'model{suffix}' for suffix in DEPLOYED_SUFFIXES)}"
        )
    if path.suffix == OPENVINO_SUFFIX:
        opened = OpenVinoSession(path, num_threads)
        _check_signature(opened, path)
        return opened
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # threads that spin would take the cores of those that decode images
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
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


def is_end_to_end(session: Any) -> bool:
    """Whether the metadata of an open file says that it begins with the pixels of an image."""
    return bool(session.get_modelmeta().custom_metadata_map.get(FORM_ENTRY) == END_TO_END)


def logits_name(session: Any) -> str:
    """The name of the output that has the logits, (N, K): ``logits``, or whatever the only output is called."""
    names = output_names(session)
    return names[0] if len(names) == 1 else LOGITS


def output_names(session: Any) -> list[str]:
    """The names of all outputs, in their order."""
    return [output.name for output in session.get_outputs()]


def _check_signature(session: Any, path: Path) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if is_end_to_end(session):
        found = ([(one.name, one.type, len(one.shape)) for one in inputs], output_names(session))
        is_complete = set(END_TO_END_OUTPUTS) <= set(found[1])
        if found[0] != [(END_TO_END_INPUT, "tensor(uint8)", 4)] or not is_complete:
            raise CheckpointError(
                f"{path} is not of the form {END_TO_END} that its metadata names: its inputs and outputs are {found};"
                " export it again"
            )
        return
    name = logits_name(session)
    logits = next((one for one in outputs if one.name == name), None)
    if len(inputs) != 1 or logits is None:
        raise CheckpointError(
            f"{path} cannot be used as an image classifier: it has {len(inputs)} inputs and {len(outputs)} outputs, not"
            " one of each, and no output is called logits"
        )
    shape, output_shape = inputs[0].shape, logits.shape
    if inputs[0].type != "tensor(float)" or len(shape) != 4 or shape[1] != 3 or len(output_shape) != 2:
        raise CheckpointError(
            f"{path} cannot be used as an image classifier: its input is {inputs[0].type} {shape} and its output"
            f" {output_shape}, not tensor(float) (N, 3, H, W) and (N, K)"
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise CheckpointError(f"{path} takes exactly {shape[0]} images at a time; export it with a dynamic batch axis")
