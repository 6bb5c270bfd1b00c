"""Small questions to an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import ModelProto, NodeProto


def name_nodes(model: ModelProto) -> None:
    """Gives every node a name of its own, in place, by which it can be left out."""
    seen = set[str]()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_number_{number}"
        seen.add(node.name)


def ancestors(nodes: Sequence[NodeProto], output: str) -> set[str]:
    """The names of the nodes that an output depends on.

    Args:
        nodes: Named, in the order in which they are computed, as ONNX demands.
        output: The name of a value.
    """
    wanted, found = {output}, set[str]()
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            found.add(node.name)
    return found
