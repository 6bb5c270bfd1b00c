"""Quantises a float32 ONNX classifier to 8 bits, statically: ranges of activations come from calibration images."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QDQQuantizer,
    QuantType,
    create_calibrator,
    quant_pre_process,
)

from classifier_training.exporters.graph import ancestors, name_nodes
from classifier_training.inference.session import LOGITS

LAYERS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""The operators that take the time: what is quantised, or stays float, is a number of these."""
_BETWEEN: Final = (
    "Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "MaxPool", "Pad", "Relu", "Reshape",
    "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
"""Operators that keep values 8 bits wide on their way from one layer to the next."""
_BATCH_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class Scheme:
    """How values become integers: activations by one scale a tensor, weights by one a channel, around zero.

    Attributes:
        name: What tables call it.
        activations: Their type.
        has_small_weights: Weights have 7 bits. The sum of two products with 8 bits each is cut off at 16 by a CPU with
            AVX2 or AVX-512 and without VNNI, silently.
        keeps_ends: The first and the last layer stay float32.
    """

    name: str
    activations: QuantType
    has_small_weights: bool = False
    keeps_ends: bool = False


SCHEMES: Final = (
    Scheme("u8s8, 7-bit weights", QuantType.QUInt8, has_small_weights=True),
    Scheme("u8s8, 7-bit weights, ends float", QuantType.QUInt8, has_small_weights=True, keeps_ends=True),
    Scheme("u8s8", QuantType.QUInt8),
    Scheme("s8s8", QuantType.QInt8),
)
"""Those that are tried. Of two that are equally fast the first is taken: it is exact on more CPUs."""


class Quantizer:
    """A calibrated network that can be quantised in several ways.

    Args:
        path: A float32 file with the output ``logits``; what does not lead to this output stays float.
        images: float32 (n, 3, S, S), prepared for the network.
        folder: For files of its own.

    Raises:
        Exception: onnxruntime's, of any kind, if it cannot do this.
    """

    def __init__(self, path: Path, images: NDArray[np.float32], folder: Path) -> None:
        prepared = folder / "prepared.onnx"
        self._metadata = {
            entry.key: entry.value for entry in onnx.load(str(path), load_external_data=False).metadata_props
        }
        with _quiet():
            quant_pre_process(str(path), str(prepared))
            model = onnx.load(str(prepared))
            name_nodes(model)
            onnx.save(model, str(prepared))
            self._path, nodes = prepared, model.graph.node
            leading = ancestors(nodes, LOGITS)
            self.layers: tuple[str, ...] = tuple(
                node.name for node in nodes if node.op_type in LAYERS and node.name in leading
            )
            """Names of the layers, in order."""
            self._outside = [node.name for node in nodes if node.name not in leading]
            calibrator = create_calibrator(
                prepared,
                [*LAYERS, *_BETWEEN],
                augmented_model_path=str(folder / "calibration.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={},
            )
            calibrator.collect_data(_Reader(images))
            self._ranges = calibrator.compute_data()

    def quantize(self, scheme: Scheme, float_layers: Collection[str], path: Path) -> None:
        """Writes the quantised network, with the metadata of the float one; layers of these names stay float32."""
        kept = {*float_layers, *((self.layers[0], self.layers[-1]) if scheme.keeps_ends else ())}
        with _quiet():
            quantizer = QDQQuantizer(
                onnx.load(str(self._path)),
                True,  # a scale for each channel of a weight
                scheme.has_small_weights,
                QuantType.QInt8,
                scheme.activations,
                self._ranges,
                [],
                [*self._outside, *kept],
                [*LAYERS, *_BETWEEN],
                {"WeightSymmetric": True},
            )
            quantizer.quantize_model()
        quantized = quantizer.model.model
        del quantized.metadata_props[:]
        onnx.helper.set_model_props(quantized, self._metadata)
        onnx.save(quantized, str(path))


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Gives the calibration images in small batches."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._batches = iter([images[start : start + _BATCH_SIZE] for start in range(0, len(images), _BATCH_SIZE)])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"input": batch}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops the log lines of onnxruntime's quantisation, which advise to use other functions of it."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
