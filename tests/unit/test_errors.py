"""Memory that runs out, as the libraries say it, and what becomes of it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from classifier_training.errors import (
    BadImageError,
    CheckpointError,
    ConfigError,
    ExportError,
    OutOfMemoryError,
    VerificationError,
    explain_out_of_memory,
    is_out_of_memory,
)
from classifier_training.warn import warn_instead_of_raise

TOO_MUCH = 2**50


def allocate_in_onnxruntime() -> None:
    shape = helper.make_tensor_value_info("shape", TensorProto.INT64, [1])
    values = helper.make_tensor_value_info("values", TensorProto.FLOAT, [None])
    graph = helper.make_graph([helper.make_node("ConstantOfShape", ["shape"], ["values"])], "g", [shape], [values])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    assert isinstance(model, onnx.ModelProto)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, {"shape": np.array([TOO_MUCH])})


def raise_error(error: Exception) -> Callable[[], Any]:
    def function() -> None:
        raise error

    return function


def refuse_as(kind: type[Exception], message: str = "it does not fit") -> Callable[[], Any]:
    def function() -> None:
        try:
            torch.empty(TOO_MUCH)
        except RuntimeError:
            raise kind(message) from None

    return function


RUNS_OUT: dict[str, Callable[[], Any]] = {
    "torch on a CPU": lambda: torch.empty(TOO_MUCH),
    "numpy": lambda: np.empty(TOO_MUCH),
    "Python": lambda: bytearray(TOO_MUCH),
    "onnxruntime": allocate_in_onnxruntime,
    "CUDA": raise_error(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total …")),
    "CUDA, by a kernel": raise_error(RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be …")),
    "cuDNN": raise_error(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")),
    "cuBLAS": raise_error(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")),
    "MPS": raise_error(RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, max allowed: 9.07 GB).")),
    "torch on Windows": raise_error(
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.")
    ),
    "C++": raise_error(RuntimeError("std::bad_alloc")),
    "a loader process": raise_error(MemoryError("Caught MemoryError in DataLoader worker process 0.")),
    "the system": raise_error(OSError(errno.ENOMEM, "Cannot allocate memory")),
    "a checkpoint that was refused for it": refuse_as(CheckpointError),
    "an export that failed for it": refuse_as(ExportError),
    "a verification that failed for it": raise_error(VerificationError("onnxruntime: Failed to allocate memory for …")),
}
OTHERS: dict[str, Exception] = {
    "another error": RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    "a missing file": FileNotFoundError(errno.ENOENT, "No such file or directory", "out of memory.jpg"),
    "a setting": ConfigError("data.cache=memory: not enough memory for all images"),
}


@pytest.mark.parametrize("allocate", RUNS_OUT.values(), ids=RUNS_OUT.keys())
def test_memory_that_runs_out_is_one_line(allocate: Callable[[], Any]) -> None:
    with pytest.raises(OutOfMemoryError) as caught, explain_out_of_memory("training", "lower data.batch_size (now 64)"):
        allocate()
    message = str(caught.value)
    assert message.startswith("out of memory while training"), message
    assert message.endswith("; lower data.batch_size (now 64)"), message
    assert "\n" not in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("CUDA", "2.00 GiB"),
        ("torch on a CPU", f"{4 * TOO_MUCH} bytes"),
        ("numpy", "8.00 PiB"),
        ("onnxruntime", f"{4 * TOO_MUCH}"),
    ],
)
def test_what_was_asked_for_is_in_the_line_where_it_is_known(name: str, amount: str) -> None:
    with pytest.raises(OutOfMemoryError) as caught, explain_out_of_memory("scoring", "lower it"):
        RUNS_OUT[name]()
    assert str(caught.value) == f"out of memory while scoring (it tried to allocate {amount}); lower it"


@pytest.mark.parametrize("error", OTHERS.values(), ids=OTHERS.keys())
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, explain_out_of_memory("training", "lower it"):
        raise error
    assert caught.value is error


def test_an_image_that_is_too_large_is_named_and_not_the_batch() -> None:
    with pytest.raises(BadImageError, match=r"big\.png"), explain_out_of_memory("training", "lower it"):
        refuse_as(BadImageError, "big.png is too large for the memory")()


def test_the_innermost_explanation_stays() -> None:
    outer, inner = explain_out_of_memory("training", "lower it"), explain_out_of_memory("exporting m", "free memory")
    with pytest.raises(OutOfMemoryError, match=r"while exporting m .*free memory"), outer, inner:
        torch.empty(TOO_MUCH)


def test_where_the_rest_continues_the_reason_is_as_short() -> None:
    expected = pytest.warns(UserWarning, match=r"^Grad-CAM could not be made, the rest continues: out of memory$")
    with expected, warn_instead_of_raise("Grad-CAM"):
        torch.empty(TOO_MUCH)


def test_it_is_seen_in_an_error_that_came_of_another() -> None:
    with pytest.raises(CheckpointError) as caught:
        refuse_as(CheckpointError)()
    assert is_out_of_memory(caught.value)
