"""Questions to an ONNX graph."""

from __future__ import annotations

from onnx import helper

from classifier_training.exporters.graph import ancestors, name_nodes


def test_nodes_get_names_and_what_leads_to_an_output_is_found() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="same"),
        helper.make_node("Neg", ["x"], ["b"], name="same"),
        helper.make_node("Abs", ["a"], ["logits"]),
        helper.make_node("Exp", ["logits"], ["later"], name="after"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "graph", [], []))

    name_nodes(model)

    assert [node.name for node in model.graph.node] == ["same", "Neg_number_1", "Abs_number_2", "after"]
    assert ancestors(model.graph.node, "logits") == {"same", "Abs_number_2"}
