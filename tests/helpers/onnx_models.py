"""Makers of small ONNX classifiers, without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def make_onnx(
    path: Path,
    num_classes: int = 3,
    *,
    metadata: Mapping[str, str] | None = None,
    input_shape: tuple[Any, ...] = ("N", 3, "H", "W"),
    num_outputs: int = 1,
    has_features: bool = False,
    has_unknown_score: bool = False,
) -> Path:
    """Writes a classifier: logits are a fixed linear map of the mean colour, so they can be computed by hand.

    Class k gets ``mean(channel k mod 3) * (k + 1)``.

    Args:
        path: The file.
        num_classes: K.
        metadata: Entries of the file's metadata.
        input_shape: Of the input; text is a free axis.
        num_outputs: The logits are given that many times; more than one are called ``output0``, ``output1``, ….
        has_features: The mean colours are an output as well, ``features``.
        has_unknown_score: The first mean colour is one, ``unknown_score``.
    """
    weights = np.zeros((3, num_classes), np.float32)
    for index in range(num_classes):
        weights[index % 3, index] = index + 1
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
    ]
    outputs = ["logits"] if num_outputs == 1 else [f"output{number}" for number in range(num_outputs)]
    nodes += [helper.make_node("MatMul", ["features", "weights"], [name]) for name in outputs]
    nodes.append(helper.make_node("Gather", ["features", "first"], ["unknown_score"], axis=1))
    sizes = dict.fromkeys(outputs, num_classes) | ({"features": 3} if has_features else {})
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, input_shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, (input_shape[0], size))
            for name, size in sizes.items()
        ],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array(0, np.int64), "first")],
    )
    if has_unknown_score:
        graph.output.append(helper.make_tensor_value_info("unknown_score", TensorProto.FLOAT, input_shape[:1]))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.save(model, str(path))
    return path
