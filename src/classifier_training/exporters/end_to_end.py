"""The form ``end-to-end``: an ONNX file from the pixels of an image of any size to probabilities and a label.

The graph around the network has plain ONNX operators only, and computes what `imaging.preprocess` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from classifier_training.errors import ConfigError, ExportError, first_line
from classifier_training.exporters.end_to_end_decision import add_decision
from classifier_training.exporters.end_to_end_proof import PIXELS, compare_end_to_end
from classifier_training.exporters.forms import ExportForm, ExportSettings
from classifier_training.exporters.onnx import export_onnx
from classifier_training.imaging.preprocess import tall_images_shrink_first
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.session import END_TO_END_INPUT, FORM_ENTRY
from classifier_training.run.folder import END_TO_END
from classifier_training.types import Preprocessing

_RESIZE: Final[Mapping[str, Mapping[str, Any]]] = {
    "bilinear": {"mode": "linear"},
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.5},
}
"""Filters that ``Resize`` shares with Pillow to one grey level, where it gets uint8 and drops what lies outside."""
_LOWEST_OPSET: Final = 19
_HIGHEST_IR_VERSION: Final = 10  # what consumers of a few years ago read


def export_end_to_end(
    model: nn.Module, path: Path, images: Tensor, settings: ExportSettings, metadata: Mapping[str, str]
) -> None:
    """Exports ``model`` as `export_onnx` does, and puts its preprocessing and its decision into the graph.

    The file has one input ``images``, uint8 (N, H, W, 3), RGB; N, H and W are free. Its outputs are ``label_index``,
    int64 (N,), ``probabilities`` and ``logits``, float32 (N, K), ``prediction_set``, bool (N, K), ``abstain``, bool
    (N,), ``unknown_score``, float32 (N,), and ``unknown``, bool (N,). The probabilities are the softmax of the logits
    divided by the temperature of the card, if it has one; the logits are those of the network. The thresholds are
    inputs that need not be given, see `end_to_end_decision`; a model without an unknown score has its energy.

    Args:
        model: As of `export_onnx`.
        path: As of `export_onnx`.
        images: As of `export_onnx`.
        settings: Exporter and operator set; a set below 19 becomes 19.
        metadata: Text entries to write into the file, with those of a `DeploymentCard`.

    Raises:
        ConfigError: The preprocessing has a step that no plain ONNX operator does as Pillow.
        ExportError: As of `export_onnx`, or there is no card.
    """
    card = DeploymentCard.from_metadata(metadata, "the end-to-end form")
    if card is None:
        raise ExportError("the end-to-end form needs class names and preprocessing; give a deployment card")
    _check_preprocessing(card.preprocessing)
    settings = replace(settings, opset_version=max(settings.opset_version, _LOWEST_OPSET))
    export_onnx(model, path, images, settings, {**metadata, FORM_ENTRY: END_TO_END})
    exported = onnx.load(str(path))
    try:
        _surround(exported, card)
        onnx.checker.check_model(exported, full_check=True)
        onnx.save(exported, str(path))
    except Exception as error:  # the checker's exceptions share no base class but Exception
        raise ExportError(f"the end-to-end graph cannot be built: {first_line(error)}") from error


FORM = ExportForm(END_TO_END, build=export_end_to_end, acceptance=compare_end_to_end)


def _check_preprocessing(preprocessing: Preprocessing) -> None:
    """Refuses what a graph of pixels cannot do, or not as Pillow does."""
    reason = None
    if preprocessing.interpolation not in _RESIZE:
        reason = (
            f"data.interpolation={preprocessing.interpolation}: its graph resizes by {' or '.join(_RESIZE)}, as ONNX"
            " has no other filter that equals Pillow's"
        )
    elif preprocessing.background is not None:
        reason = "data.background: transparency is gone from the RGB pixels that its graph begins with"
    elif preprocessing.integer_range is not None:
        reason = "data.integer_range: its graph begins with 8-bit pixels"
    if reason is not None:
        raise ConfigError(f"the form end-to-end does not fit a model of {reason}; use --form onnx")


def _surround(exported: onnx.ModelProto, card: DeploymentCard) -> None:
    """Puts the nodes of the preprocessing before the network and those of the decision behind it, in place."""
    graph = exported.graph
    before, after = _Nodes("before"), _Nodes("after")
    before.add_preprocessing(card.preprocessing)
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info(END_TO_END_INPUT, TensorProto.UINT8, ["N", "H", "W", 3]))
    add_decision(graph, after, card)
    nodes = [*before.nodes, *graph.node, *after.nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*before.constants, *after.constants])
    exported.ir_version = min(exported.ir_version, _HIGHEST_IR_VERSION)


class _Nodes:
    """Nodes of a part of the graph, and their constants, whose names begin with that of the part."""

    def __init__(self, part: str) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self._part = part

    def __call__(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Adds a node and returns its output, which has a name of its own unless ``output`` gives one."""
        name = f"{self._part}/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output or name], name=name, **attributes))
        return output or name

    def constant(self, values: Sequence[float], dtype: type, shape: tuple[int, ...] = (-1,)) -> str:
        name = f"{self._part}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype).reshape(shape), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def add_preprocessing(self, preprocessing: Preprocessing) -> None:
        """From ``images`` to the network's ``input``: `imaging.preprocess`, operation by operation."""
        zero, one, two, three = (self.integers(value) for value in range(4))
        side = self.integers(preprocessing.image_size)
        shape = self("Shape", END_TO_END_INPUT)
        old = self("Slice", shape, one, three)
        scaled = self("Mul", old, self.integers(preprocessing.resize_size))
        sides = self("Div", scaled, self("ReduceMin", old, keepdims=1))  # of the longer side rounded down
        count = self("Slice", shape, zero, one)
        how: dict[str, Any] = {"antialias": 1, "exclude_outside": 1, "coordinate_transformation_mode": "half_pixel"}
        how |= _RESIZE[preprocessing.interpolation]
        resized = self("Transpose", END_TO_END_INPUT, perm=[0, 3, 1, 2])
        if tall_images_shrink_first():
            lost = self("Sub", old, sides)
            height, width = self("Slice", lost, zero, one), self("Slice", lost, one, two)
            is_first = self("And", self("Greater", height, zero), self("Greater", height, self("Mul", two, width)))
            rows = self("Where", is_first, self("Slice", sides, zero, one), self("Slice", old, zero, one))
            columns = self("Slice", old, one, two)
            resized = self("Resize", resized, "", "", self("Concat", count, three, rows, columns, axis=0), **how)
        resized = self("Resize", resized, "", "", self("Concat", count, three, sides, axis=0), **how)
        # the crop begins at half of what is too much, halves rounded to even
        excess = self("Sub", sides, side)
        half = self("Div", excess, two)
        odd = self("Mul", self("Mod", excess, two), self("Mod", half, two))
        start = self("Add", half, odd)
        end = self("Add", start, side)
        cropped = self("Slice", resized, start, end, self.integers(2, 3), output=PIXELS)
        values = self("Div", self("Cast", cropped, to=TensorProto.FLOAT), self.constant([255], np.float32))
        centred = self("Sub", values, self.constant(preprocessing.mean, np.float32, (1, 3, 1, 1)))
        self("Div", centred, self.constant(preprocessing.std, np.float32, (1, 3, 1, 1)), output="input")
