"""The form ``fp16``: an ONNX file of half the size, whose weights and values have 16 bits.

Its inputs and outputs stay float32. onnxruntime has no 16-bit arithmetic on x86 CPUs and casts there, so the form saves
space and download, and time on a GPU.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import onnx
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel
from torch import nn

from classifier_training.errors import ExportError, first_line
from classifier_training.exporters.acceptance import AS_ACCURATE
from classifier_training.exporters.forms import ExportForm, ExportSettings, ProofImages
from classifier_training.exporters.graph import ancestors, name_nodes
from classifier_training.exporters.onnx import export_onnx
from classifier_training.exporters.verification import compare_onnx
from classifier_training.inference.session import FORM_ENTRY, LOGITS
from classifier_training.run.folder import FP16

_FLOAT_OPERATORS: Final = (*DEFAULT_OP_BLOCK_LIST, "Resize")
"""Operators that stay float32: those that no runtime has for 16 bits, and positions in an image, which are exact."""


def convert_to_fp16(path: Path, model: nn.Module, images: ProofImages, settings: ExportSettings) -> dict[str, Any]:
    """Halves a float32 file in place; what does not lead to its ``logits`` stays float32.

    Raises:
        ExportError: onnxruntime cannot convert it.
    """
    del model, images, settings
    exported = onnx.load(str(path))
    name_nodes(exported)
    leading = ancestors(exported.graph.node, LOGITS)
    outside = [node.name for node in exported.graph.node if node.name not in leading]
    try:
        converted = convert_float_to_float16(
            exported, keep_io_types=True, op_block_list=[*_FLOAT_OPERATORS], node_block_list=outside
        )
        del converted.graph.value_info[:]  # wrong for operators that stay float32, and inferred again where needed
        OnnxModel.graph_topological_sort(converted.graph, is_deterministic=True)  # casts come last, before it
        onnx.helper.set_model_props(converted, {**_metadata(exported), FORM_ENTRY: FP16})
        onnx.checker.check_model(converted, full_check=True)
        onnx.save(converted, str(path))
    except Exception as error:  # of any kind, as the checker's and the converter's
        raise ExportError(f"onnxruntime cannot convert this model to 16 bits: {first_line(error)}") from error
    return {}


FORM = ExportForm(FP16, build=export_onnx, convert=convert_to_fp16, acceptance=partial(compare_onnx, rule=AS_ACCURATE))


def _metadata(exported: onnx.ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in exported.metadata_props}
