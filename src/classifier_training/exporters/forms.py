"""The table of the forms of an exported model: one file each, with its `ExportForm` as ``FORM``, and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from classifier_training.errors import ConfigError
from classifier_training.inference.openvino_package import check_openvino
from classifier_training.run.folder import END_TO_END, FP16, INT8, OPENVINO, TORCH_EXPORT
from classifier_training.types import OPSET_VERSIONS, Exporter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from classifier_training.inference.card import DeploymentCard

DEFAULT_FORM: Final = "onnx"
FORMS: Final[Mapping[str, str]] = {
    "onnx": "classifier_training.exporters.onnx",
    END_TO_END: "classifier_training.exporters.end_to_end",
    FP16: "classifier_training.exporters.fp16",
    INT8: "classifier_training.exporters.int8",
    "safetensors": "classifier_training.exporters.safetensors",
    TORCH_EXPORT: "classifier_training.exporters.torch_export",
    OPENVINO: "classifier_training.exporters.openvino",
}
"""Names and their modules, which are imported when they are used. `ExportFolder.model` names the file of a form."""


class CalibrationImages(NamedTuple):
    """Training images that calibrate a form.

    Attributes:
        prepared: float32 (n, 3, S, S), prepared as the images of an evaluation.
        sha256: Of the content hashes of the n files, in order.
    """

    prepared: NDArray[np.float32]
    sha256: str


class OriginalImage(NamedTuple):
    """The file of an image that a form is proven on.

    Attributes:
        name: What messages call it.
        content: The bytes of the file.
        label: Its class index; None where that is not known.
    """

    name: str
    content: bytes
    label: int | None = None


@dataclass(frozen=True, slots=True)
class ProofImages:
    """Real images that a form is proven on.

    Attributes:
        prepared: float32 (n, 3, H, W), on the CPU, prepared for the model as the trainer's loader does.
        originals: The files that they were prepared from, in the same order; empty where there are none.
        card: What the trainer knows: its classes, its preprocessing, the temperature; None: it is not compared.
        pixels: uint8 (n, H, W, 3), what the loader made of the files before they were normalised; None: unknown.
        logits: float32 (n, K), what the trainer scored for them in float32; None: the model computes them.
        calibration: Reads that many training images, for a form that is calibrated; None: there are none.
    """

    prepared: Tensor
    originals: Sequence[OriginalImage] = ()
    card: DeploymentCard | None = None
    pixels: NDArray[np.uint8] | None = None
    logits: NDArray[np.float32] | None = None
    calibration: Callable[[int], CalibrationImages] | None = None


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """How a model is exported.

    Attributes:
        exporter: ``torchscript`` traces, ``dynamo`` goes through ``torch.export``.
        opset_version: ONNX operator set, one of ``OPSET_VERSIONS[exporter]``.
        tolerance: Largest allowed absolute difference of a logit, of files that compute in float32.
        max_points_lost: Largest allowed loss of top-1 accuracy, percentage points, of files of fewer bits.
        significance: p-value of McNemar's test below which such a file counts as less accurate.
        self_test_images: Pictures in the file, for its self-test.
        calibration_images: Number of training images that calibrate a quantised file.
        min_speedup: How many times as fast as float32 a quantised file has to be.

    Raises:
        ConfigError: A value is out of range.
    """

    exporter: Exporter = "torchscript"
    opset_version: int = 18
    tolerance: float = 1e-3
    max_points_lost: float = 1.0
    significance: float = 0.05
    self_test_images: int = 0
    calibration_images: int = 200
    min_speedup: float = 1.1

    def __post_init__(self) -> None:
        _check("exporter", self.exporter, self.exporter in get_args(Exporter), " or ".join(map(repr, OPSET_VERSIONS)))
        opsets, version = OPSET_VERSIONS[self.exporter], self.opset_version
        is_opset = isinstance(version, int) and not isinstance(version, bool) and version in opsets
        _check("opset_version", version, is_opset, f"{opsets[0]} to {opsets[-1]} for exporter={self.exporter!r}")
        is_positive = isinstance(self.tolerance, int | float) and self.tolerance > 0
        _check("tolerance", self.tolerance, is_positive, "a positive number")
        is_loss = isinstance(self.max_points_lost, int | float) and self.max_points_lost >= 0
        _check("max_points_lost", self.max_points_lost, is_loss, "a number, at least 0")
        is_share = isinstance(self.significance, int | float) and 0 < self.significance < 1
        _check("significance", self.significance, is_share, "a number above 0 and below 1")
        _check("calibration_images", self.calibration_images, self.calibration_images >= 1, "at least 1")
        _check("min_speedup", self.min_speedup, self.min_speedup >= 0, "a number, at least 0")


@dataclass(frozen=True, slots=True)
class ExportForm:
    """One kind of exported file.

    Attributes:
        name: Its key in `FORMS`.
        build: Writes the file from a model on the CPU, a path, images (n, 3, H, W) that have its input's size, the
            settings and the entries of the metadata. Raises `ExportError` if the model cannot be exported.
        acceptance: Compares the file at a path with the model on images, by the settings. Returns figures that are
            ready for JSON, with ``passed`` and, where it is false, ``reason``, and ``image`` and ``stage`` where one
            image and one stage of its way differ. Raises `ExportError` where it needs the original files of the
            images and there are none. `proof.prove` does most of it.
        parts: Suffixes of further files that ``build`` writes beside the file, under its name; they are one with it.
        companions: JSON files that belong beside the file: their names, and what makes their content from the accepted
            file.
        convert: Turns what was built into what is accepted, in place; None: it is that. Returns figures, with a
            ``reason`` where there is no such file. Raises `ExportError` if it cannot.
    """

    name: str
    build: Callable[[nn.Module, Path, Tensor, ExportSettings, Mapping[str, str]], None]
    acceptance: Callable[[Path, nn.Module, ProofImages, ExportSettings], dict[str, Any]]
    parts: Sequence[str] = ()
    companions: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict, hash=False)
    convert: Callable[[Path, nn.Module, ProofImages, ExportSettings], dict[str, Any]] | None = None


def check_form(name: str) -> None:
    """Raises a `ConfigError` for a form that does not exist, or whose package is missing, before imports take time."""
    if name not in FORMS:
        raise ConfigError(f"there is no export form {name!r}; allowed are {', '.join(FORMS)}")
    if name == OPENVINO:
        check_openvino()


def export_form(name: str) -> ExportForm:
    """The form of a name; a `ConfigError` as of `check_form`."""
    check_form(name)
    return form_of(name)


def form_of(name: str) -> ExportForm:
    """The form of a name in `FORMS`, also where the package that writes its files is missing."""
    form = importlib.import_module(FORMS[name]).FORM
    assert isinstance(form, ExportForm)  # noqa: S101 - a test compares the table with the modules
    return form


def files_beside(form: ExportForm, path: Path) -> list[Path]:
    """What belongs to the exported file at a path, and goes with it: its parts and its companions."""
    return [*map(path.with_suffix, form.parts), *map(path.with_name, form.companions)]


def _check(name: str, value: object, is_valid: bool, allowed: str) -> None:
    if not is_valid:
        raise ConfigError(f"export: {name} must be {allowed}; got {value!r}")
