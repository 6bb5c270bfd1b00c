"""Opens files of the form ``openvino`` behind the interface of onnxruntime's sessions, as far as it is used here."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import CheckpointError
from classifier_training.inference.openvino_package import import_openvino

WEIGHTS_SUFFIX: Final = ".bin"
"""Of the second file, beside the first."""
METADATA_KEY: Final = "classifier_training"
"""Below it are the entries of the metadata, in the runtime information of a model."""
_EXACT: Final = {"INFERENCE_PRECISION_HINT": "f32"}
"""Some CPUs compute in bfloat16 unless told otherwise."""
_TYPES: Final = {"f32": "tensor(float)", "u8": "tensor(uint8)"}


class _Value(NamedTuple):
    """An input or an output as onnxruntime describes it; a free axis is None."""

    name: str
    type: str
    shape: list[int | None]


class _Metadata(NamedTuple):
    custom_metadata_map: Mapping[str, str]


class OpenVinoSession:
    """A model in OpenVINO's CPU runtime, in float32; may be called from several threads.

    Args:
        path: The graph, ``model.xml``; its weights lie beside it as ``model.bin``.
        num_threads: Threads of the runtime; None takes one per core.

    Raises:
        CheckpointError: A file is missing or damaged.
        ConfigError: OpenVINO is not installed.
    """

    def __init__(self, path: Path, num_threads: int | None = None) -> None:
        openvino, weights = import_openvino(f"{path} is a file of OpenVINO and"), path.with_suffix(WEIGHTS_SUFFIX)
        if not weights.is_file():
            raise CheckpointError(f"{path} needs its weights, {weights.name} in the same folder; copy both files")
        options = _EXACT if num_threads is None else {**_EXACT, "INFERENCE_NUM_THREADS": num_threads}
        try:
            core = openvino.Core()
            model = core.read_model(path.read_bytes(), weights.read_bytes())
            self._compiled = core.compile_model(model, "CPU", options)
            entries = model.get_rt_info([METADATA_KEY]).value if model.has_rt_info([METADATA_KEY]) else {}
            self._inputs, self._outputs = (
                [_described(one) for one in model.inputs],
                [_described(one) for one in model.outputs],
            )
        except Exception as error:  # its exceptions share no base class but Exception
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{path} cannot be opened by OpenVINO, or is damaged: {reason:.400}") from None
        self._metadata = _Metadata(entries if isinstance(entries, dict) else {})
        self._of_thread = threading.local()

    def get_inputs(self) -> list[_Value]:
        """Name, type and shape of each input."""
        return self._inputs

    def get_outputs(self) -> list[_Value]:
        """Name, type and shape of each output."""
        return self._outputs

    def get_modelmeta(self) -> _Metadata:
        """The entries of the metadata."""
        return self._metadata

    def run(self, names: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """The outputs of those names, all where None, for one batch of inputs."""
        request = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self._compiled.create_infer_request()
        answer = request.infer(dict(feed))
        return [answer[name] for name in names or [one.name for one in self._outputs]]


def _described(port: Any) -> _Value:
    kind = str(port.get_element_type().get_type_name())
    sides = [None if side.is_dynamic else int(side.get_length()) for side in port.get_partial_shape()]
    return _Value(str(port.get_any_name()), _TYPES.get(kind, kind), sides)
