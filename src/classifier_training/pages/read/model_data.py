"""How large, how fast and how well proven the model of a run is, as a page shows it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier_training.pages.read.reading import Fields, plain_value, read_fields, read_json


@dataclass(frozen=True, slots=True)
class Latency:
    """How long one run of the model takes.

    Attributes:
        device: Where it was measured.
        batch_size: Images at a time.
        shortest_ms: Milliseconds; what else the machine did at the time disturbs this one least.
        median_ms: Milliseconds.
        p95_ms: 95 of 100 took less, milliseconds.
        repeats: Number of measurements.
    """

    device: str
    batch_size: int
    shortest_ms: float
    median_ms: float
    p95_ms: float
    repeats: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """How large and how fast a model is.

    Attributes:
        model: Its name.
        input: Channels, height and width.
        num_parameters: All of them.
        num_trainable_parameters: Those that are trained.
        size_bytes: Of all weights.
        flops: For one image, two for each multiply-add; None where it is not known.
        latency: None where it was not measured.
    """

    model: str
    input: tuple[int, ...]
    num_parameters: int
    num_trainable_parameters: int
    size_bytes: int
    flops: float | None
    latency: Latency | None


@dataclass(frozen=True, slots=True)
class Verification:
    """The comparison of the exported file with the trained model.

    Attributes:
        passed: Whether they agree.
        num_images: Number of images that both were given.
        tolerance: Largest difference of a logit that was allowed.
        top1_agreement: Share of the images for which both gave the same class.
        max_abs_logit_difference: The largest difference of a logit.
        sha256: Of the file that was compared; None where it is not known.
        values: All that the file holds, for a table.
    """

    passed: bool
    num_images: int
    tolerance: float | None
    top1_agreement: float | None
    max_abs_logit_difference: float | None
    sha256: str | None
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """The exported model.

    Attributes:
        path: The file.
        size: Bytes.
        sha256: Of the file as it lies there; None while the run is trained.
        is_proven: Whether this very file passed the comparison with the trained model.
    """

    path: Path
    size: int
    sha256: str | None
    is_proven: bool


def read_model_info(path: Path) -> ModelInfo:
    """Reads ``model_info.json``.

    Raises:
        DamagedFileError: It is no such file.
    """
    fields = read_fields(path)
    return ModelInfo(
        model=fields.text("model"),
        input=fields.counts("input"),
        num_parameters=fields.count("num_parameters"),
        num_trainable_parameters=fields.count("num_trainable_parameters"),
        size_bytes=fields.count("size_bytes"),
        flops=fields.number_or_none("flops"),
        latency=None if fields.values.get("latency") is None else _latency(fields.object("latency")),
    )


def read_verification(path: Path) -> Verification:
    """Reads ``export/verification.json``.

    Raises:
        DamagedFileError: It is no such file.
    """
    fields = Fields(read_json(path))
    passed = fields.flag("passed")
    return Verification(
        passed=passed,
        num_images=fields.count("num_images") if passed else fields.count_or_none("num_images") or 0,
        tolerance=fields.number_or_none("tolerance"),
        top1_agreement=fields.fraction_or_none("top1_agreement"),
        max_abs_logit_difference=fields.number_or_none("max_abs_logit_difference"),
        sha256=fields.text_or_none("sha256"),
        values=plain_value(fields.values),
    )


def read_onnx(path: Path, verification: Verification | None, *, is_finished: bool) -> OnnxFile:
    """Looks at the exported model.

    Args:
        path: The file.
        verification: The comparison that it passed, or not.
        is_finished: Whether it is the file of a finished run, which is worth reading for its hash.
    """
    size, digest = path.stat().st_size, None
    if is_finished:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    is_proven = verification is not None and verification.passed and digest == verification.sha256
    return OnnxFile(path, size, digest, is_proven and digest is not None)


def _latency(fields: Fields) -> Latency:
    return Latency(
        device=fields.text("device"),
        batch_size=fields.count("batch_size"),
        shortest_ms=fields.number("min_ms" if "min_ms" in fields.values else "median_ms"),
        median_ms=fields.number("median_ms"),
        p95_ms=fields.number("p95_ms"),
        repeats=fields.count("repeats"),
    )
