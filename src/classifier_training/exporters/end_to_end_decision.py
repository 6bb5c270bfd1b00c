"""The end of the ``end-to-end`` graph: from logits to a label, probabilities, and whether these are to be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto, helper, numpy_helper

from classifier_training.exporters.stages import SAME, largest_difference
from classifier_training.exporters.unknown_output import unknown_nodes
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.session import (
    ABSTAIN,
    END_TO_END_OUTPUTS,
    LOGITS,
    PREDICTION_SET,
    THRESHOLDS,
    UNKNOWN_SCORE,
)
from classifier_training.inference.unknown import UNKNOWN
from classifier_training.metrics.unknown import UnknownScore, energy

NEVER: Final = float(np.finfo(np.float32).max)
"""The default of the threshold of a score that was not fitted: no image is above it."""
OUTPUTS: Final = (*END_TO_END_OUTPUTS, PREDICTION_SET, ABSTAIN, UNKNOWN_SCORE, UNKNOWN)
_BY_KIND: Final[Mapping[str, tuple[int, bool]]] = {
    END_TO_END_OUTPUTS[0]: (TensorProto.INT64, False),
    END_TO_END_OUTPUTS[1]: (TensorProto.FLOAT, True),
    END_TO_END_OUTPUTS[2]: (TensorProto.FLOAT, True),
    PREDICTION_SET: (TensorProto.BOOL, True),
    ABSTAIN: (TensorProto.BOOL, False),
    UNKNOWN_SCORE: (TensorProto.FLOAT, False),
    UNKNOWN: (TensorProto.BOOL, False),
}
"""Their types, and whether they have a value for each class."""


def thresholds_of(card: DeploymentCard) -> dict[str, float]:
    """The defaults of the three thresholds: those that were fitted, or what abstains never and excludes no class."""
    decision, unknown = card.decision, card.unknown
    lowest = None if decision is None else decision.abstain_threshold
    in_set = None if decision is None else decision.set_threshold
    values = (lowest or 0.0, in_set or 0.0, NEVER if unknown is None else unknown.threshold)
    return dict(zip(THRESHOLDS, values, strict=True))


class Nodes(Protocol):
    """Nodes of a part of a graph."""

    def __call__(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node, and gives the name of its output."""

    def constant(self, values: Sequence[float], dtype: type, shape: tuple[int, ...] = (-1,)) -> str:
        """Adds a constant, and gives its name."""


def add_decision(graph: GraphProto, add: Nodes, card: DeploymentCard) -> None:
    """From the network's ``logits``, and its ``unknown_score`` if it has one, to all outputs and optional inputs.

    Args:
        graph: Has the network; gets inputs, and its outputs anew.
        add: Adds a node behind those of the graph.
        card: The temperature and the thresholds.
    """
    label, probabilities, logits = END_TO_END_OUTPUTS
    lowest, in_set, highest = THRESHOLDS
    has_score = any(UNKNOWN_SCORE in node.output for node in graph.node)
    add("ArgMax", logits, output=label, axis=1, keepdims=0)
    scaled = logits if card.temperature is None else add("Div", logits, add.constant([card.temperature], np.float32))
    add("Softmax", scaled, output=probabilities, axis=1)
    top = add("ReduceMax", probabilities, add.constant([1], np.int64), keepdims=0)
    if not has_score:
        nodes, constants = unknown_nodes(UnknownScore("energy"), len(card.classes))
        graph.node.extend(nodes)
        graph.initializer.extend(constants)
    add("Less", top, lowest, output=ABSTAIN)
    add("Greater", UNKNOWN_SCORE, highest, output=UNKNOWN)
    add("GreaterOrEqual", probabilities, in_set, output=PREDICTION_SET)
    for name, value in thresholds_of(card).items():
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))
    for name in OUTPUTS:
        kind, is_by_class = _BY_KIND[name]
        shape: list[Any] = ["N", len(card.classes)] if is_by_class else ["N"]
        graph.output.append(helper.make_tensor_value_info(name, kind, shape))


def defaults_of(graph: GraphProto) -> dict[str, float]:
    """The defaults of the thresholds in a graph."""
    found = {one.name: one for one in graph.initializer if one.name in THRESHOLDS}
    return {name: float(numpy_helper.to_array(one)) for name, one in found.items()}


def decision_differences(
    answer: Mapping[str, NDArray[Any]],
    of_model: Mapping[str, NDArray[np.float32]],
    card: DeploymentCard,
    defaults: Mapping[str, float],
) -> list[tuple[str, float, float]]:
    """How the outputs of a graph differ from what numpy computes: what, how far, and how far they may.

    Args:
        answer: The outputs of the graph for N images.
        of_model: ``logits``, and ``unknown_score`` if there is one, of the model for the same pixels.
        card: Of the model.
        defaults: The thresholds in the graph.
    """
    values, scores = answer[END_TO_END_OUTPUTS[1]], answer[UNKNOWN_SCORE]
    expected = of_model.get(UNKNOWN_SCORE)
    wanted_scores = energy(of_model[LOGITS]) if expected is None else expected
    allowed = 100 * SAME * max(1.0, float(np.abs(wanted_scores).max()))
    thresholds = {name: np.float32(value) for name, value in thresholds_of(card).items()}
    is_same = {name: np.float32(value) for name, value in defaults.items()} == thresholds
    lowest, in_set, highest = thresholds.values()
    return [
        ("of a default of the thresholds", float(not is_same), 0.0),
        ("of an unknown score", largest_difference(scores, wanted_scores), allowed),
        ("of a prediction set", largest_difference(answer[PREDICTION_SET], values >= in_set), 0.0),
        ("of an abstention", largest_difference(answer[ABSTAIN], values.max(axis=1) < lowest), 0.0),
        ("of what counts as unknown", largest_difference(answer[UNKNOWN], scores > highest), 0.0),
    ]
