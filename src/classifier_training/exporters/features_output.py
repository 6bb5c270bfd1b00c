"""The output ``features`` of an exported file: what the last linear layer gets, where that is the last thing done."""

from __future__ import annotations

from typing import Final

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from classifier_training.inference.session import FEATURES, LOGITS

_UNCHANGED: Final = frozenset({"Identity", "Cast"})


def add_features_output(exported: ModelProto) -> int | None:
    """Adds the input of the linear layer that gives the logits as an output, in place.

    Args:
        exported: Has an output ``logits``, float32 (N, K).

    Returns:
        D, where the file has now the output ``features``, float32 (N, D); None where the logits are not those of one
        linear layer on one vector an image, and the file stays as it is.
    """
    graph = exported.graph
    name = _input_of_last_layer(graph)
    inferred = onnx.shape_inference.infer_shapes(exported).graph
    found = [one.type.tensor_type for one in [*inferred.value_info, *inferred.input] if one.name == name]
    sides = found[0].shape.dim if found and found[0].elem_type == TensorProto.FLOAT else []
    if name is None or len(sides) != 2 or sides[1].dim_value < 1:
        return None
    num_features = int(sides[1].dim_value)
    inside = f"{FEATURES}/inside"
    _rename(graph, FEATURES, inside)  # a value that has this name already
    source = inside if name == FEATURES else name
    graph.node.append(helper.make_node("Identity", [source], [FEATURES], name=f"output/{FEATURES}"))
    batch_axis = graph.input[0].type.tensor_type.shape.dim[0].dim_param or "N"
    graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, [batch_axis, num_features]))
    return num_features


def _input_of_last_layer(graph: GraphProto) -> str | None:
    """What the linear layer gets that gives the logits; None where it is something else that gives them."""
    by_output = {output: node for node in graph.node for output in node.output}
    node = _before(by_output, LOGITS)
    if node is not None and node.op_type == "Add":
        constants = {one.name for one in graph.initializer}
        products = [one for name in node.input if name not in constants and (one := _before(by_output, name))]
        node = products[0] if len(products) == 1 and products[0].op_type == "MatMul" else None
    if node is None or node.op_type not in {"Gemm", "MatMul"}:
        return None
    return None if any(one.name == "transA" and one.i for one in node.attribute) else str(node.input[0])


def _before(by_output: dict[str, NodeProto], name: str) -> NodeProto | None:
    """The node that computes a value, behind those that hand it on."""
    node = by_output.get(name)
    while node is not None and node.op_type in _UNCHANGED:
        node = by_output.get(node.input[0])
    return node


def _rename(graph: GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]
    for one in [*graph.initializer, *graph.value_info]:
        one.name = new if one.name == old else one.name
