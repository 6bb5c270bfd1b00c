"""The exported model of a run, and whether it is verified."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from classifier_training.run.verification import Verification


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """The exported model.

    Attributes:
        path: The file.
        size: Bytes.
        sha256: Of the file as it is now; None while the run is trained.
        is_verified: Whether this very file passed the comparison with the trained model.
    """

    path: Path
    size: int
    sha256: str | None
    is_verified: bool


def read_onnx(path: Path, verification: Verification | None, best_epoch: int | None) -> OnnxFile:
    """Compares the exported model with its verification.

    Args:
        path: The file.
        verification: The comparison that it passed, or not.
        best_epoch: The best epoch of a finished run, from 0: a file with the weights of another epoch, from
            before a resume, is not verified. None while the run is trained: the file is not worth reading for its hash.
    """
    size = path.stat().st_size
    if best_epoch is None:
        return OnnxFile(path, size, None, is_verified=False)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    is_verified = (
        verification is not None
        and verification.passed
        and verification.sha256 == digest
        and verification.epoch in (None, best_epoch)
    )
    return OnnxFile(path, size, digest, is_verified)
