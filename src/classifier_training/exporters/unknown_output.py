"""The output ``unknown_score`` of an exported file, by plain operators of every operator set."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from classifier_training.inference.session import FEATURES, LOGITS, UNKNOWN_SCORE
from classifier_training.metrics.unknown import UnknownScore

NODES: Final = "unknown"
"""The names of all its nodes and constants begin with this: a quantizer is to leave them in float32."""


def add_unknown_output(graph: GraphProto, score: UnknownScore) -> bool:
    """Adds a score of the graph's ``logits`` or ``features`` as an output, in place.

    Returns:
        Whether there is one: False where the score needs features that the graph does not give.
    """
    outputs = {one.name: one for one in graph.output}
    if score.needs_features and FEATURES not in outputs:
        return False
    nodes, constants = unknown_nodes(score, outputs[LOGITS].type.tensor_type.shape.dim[-1].dim_value)
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    batch_axis = outputs[LOGITS].type.tensor_type.shape.dim[0].dim_param or "N"
    graph.output.append(helper.make_tensor_value_info(UNKNOWN_SCORE, TensorProto.FLOAT, [batch_axis]))
    return True


def unknown_nodes(score: UnknownScore, num_classes: int) -> tuple[list[NodeProto], list[TensorProto]]:
    """The nodes from ``logits`` (N, K) and ``features`` (N, D) to ``unknown_score`` (N,), and their constants."""
    part = _Part()
    if score.kind == "energy":
        most = part.largest(LOGITS, 1)
        total = part("MatMul", part("Exp", part("Sub", LOGITS, most)), part.constant(np.ones((num_classes, 1))))
        column = part("Neg", part("Add", part("Log", total), most))
    elif score.kind == "max_logit":
        column = part("Neg", part.largest(LOGITS, 1))
    elif score.kind == "knn":
        bank = score.arrays["bank"]
        lengths = part("Sqrt", part.row_sums(part("Mul", FEATURES, FEATURES), bank.shape[1]))
        unit = part("Div", FEATURES, part("Max", lengths, part.constant(np.array(1e-12))))
        similarity = part.largest(part("MatMul", unit, part.constant(bank.T)), score.neighbours)
        last = part.constant(np.array([score.neighbours - 1]), np.int64)
        column = part("Sub", part.constant(np.array(1.0)), part("Gather", similarity, last, axis=1))
    else:
        basis = score.arrays["basis"]
        centred = part("Sub", FEATURES, part.constant(score.arrays["mean"]))
        explained = part("MatMul", part("MatMul", centred, part.constant(basis)), part.constant(basis.T))
        left = part("Sub", centred, explained)
        column = part("Sqrt", part.row_sums(part("Mul", left, left), len(basis)))
    part("Reshape", column, part.constant(np.array([-1]), np.int64), output=UNKNOWN_SCORE)
    return part.nodes, part.constants


class _Part:
    """Nodes and constants of the score."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def __call__(self, operator: str, *inputs: str, output: str = "", num_outputs: int = 1, **attributes: Any) -> str:
        """Adds a node and returns its first output, which has a name of its own unless ``output`` gives one."""
        name = f"{NODES}/{operator}_{len(self.nodes)}"
        outputs = [output or name, *(f"{name}_{number}" for number in range(1, num_outputs))]
        self.nodes.append(helper.make_node(operator, list(inputs), outputs, name=name, **attributes))
        return outputs[0]

    def constant(self, values: NDArray[Any], dtype: type = np.float32) -> str:
        name = f"{NODES}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype).reshape(values.shape), name))
        return name

    def largest(self, values: str, count: int) -> str:
        """The largest numbers of each row, in order."""
        return self("TopK", values, self.constant(np.array([count]), np.int64), axis=1, num_outputs=2)

    def row_sums(self, values: str, width: int) -> str:
        """Sums over the rows, as a column."""
        return self("MatMul", values, self.constant(np.ones((width, 1))))
