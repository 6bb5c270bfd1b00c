"""Checkpoints of ours: written whole or not at all, and read without running any code that may be in them."""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any, cast

import torch

from classifier_training.errors import CheckpointError, explain_out_of_memory, first_line
from classifier_training.files.atomic import atomic_path
from classifier_training.files.canonical import canonical
from classifier_training.files.text import is_file, why_no_file
from classifier_training.inference.decision import DECISION, Decision
from classifier_training.inference.unknown import UNKNOWN
from classifier_training.metrics.selective import MIN_ANSWERED
from classifier_training.metrics.temperature import TEMPERATURE
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.decision import VALIDATED, ValidatedImages
from classifier_training.models.finite import first_not_finite
from classifier_training.models.unknown import UnknownDetector


def read_checkpoint(path: Path, *, mmap: bool = True) -> dict[str, Any]:
    """Reads a checkpoint that a run of ours wrote; tensors are memory-mapped and stay on the CPU.

    With ``mmap=False`` they are read into memory: a file that is mapped cannot be replaced everywhere.

    Raises:
        CheckpointError: The file is missing, truncated, unsafe to load, or not a checkpoint of ours.
    """
    if not is_file(path):
        raise CheckpointError(why_no_file(path, f"there is no checkpoint {path}"))
    if not zipfile.is_zipfile(path):  # which torch.save writes; older formats are read by unpickling
        raise CheckpointError(f"{path} is truncated or not a checkpoint (not what torch.save writes); use another one")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is refused: it holds more than tensors and plain values, and loading it could run code that"
            " somebody put into it"
        ) from None
    except Exception as error:  # a broken pickle can raise anything
        reason = first_line(error)[:100]
        raise CheckpointError(f"{path} is truncated or not a checkpoint ({reason}); use another one") from None
    needed = {"state_dict", "hyper_parameters", "epoch", "global_step"}
    settings = content.get("hyper_parameters") if isinstance(content, dict) and needed <= content.keys() else None
    if not isinstance(settings, dict) or not {"backbone", "classes", "preprocessing"} <= settings.keys():
        raise CheckpointError(
            f"{path} is a checkpoint of another program; weights alone can be used with model.weights="
        )
    return cast("dict[str, Any]", content)


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint under a temporary name and renames it; equal checkpoints are equal files.

    Raises:
        OSError: The disk is full or the folder cannot be written; what was at ``path`` is untouched.
    """
    # torch reports a full disk as an anonymous RuntimeError when it writes the file itself
    buffer = io.BytesIO()
    torch.save(canonical(content), buffer)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(buffer.getbuffer())


def load_model(path: Path) -> BaseClassificationModel:
    """Builds the model of a checkpoint with the weights that were scored, on the CPU, in evaluation mode.

    Raises:
        CheckpointError: See `read_checkpoint`; or the weights do not fit the model that the checkpoint describes, or
            are not finite numbers.
    """
    with explain_out_of_memory(f"loading {path}", "free memory of this machine"):
        checkpoint = read_checkpoint(path)
        try:
            model = BaseClassificationModel(**checkpoint["hyper_parameters"])
            model.load_state_dict(checkpoint["state_dict"])
            model.temperature = _temperature(checkpoint, path)
            model.decision = Decision.from_dict(checkpoint[DECISION]) if DECISION in checkpoint else None
            model.unknown = UnknownDetector.from_values(checkpoint[UNKNOWN]) if UNKNOWN in checkpoint else None
        except (RuntimeError, TypeError, ValueError) as error:
            reason = first_line(error)[:200]
            raise CheckpointError(f"{path} does not hold the model that it describes: {reason}") from None
        wrong = first_not_finite(model.state_dict())
        if wrong is not None:
            raise CheckpointError(
                f"{path} holds weights that are not finite numbers (first {wrong}): its training diverged; use another"
                " checkpoint"
            )
        model.use_memory_format()
        return model.eval()


def _temperature(checkpoint: dict[str, Any], path: Path) -> float | None:
    """The temperature of a finished training; None where it has none.

    Raises:
        CheckpointError: It is not a positive number.
    """
    value = checkpoint.get(TEMPERATURE)
    if value is None or (isinstance(value, float) and 0 < value < math.inf):
        return value
    raise CheckpointError(f"{path}: its temperature is {value!r:.80}, not a positive number; use another checkpoint")


def read_validated(path: Path) -> ValidatedImages:
    """Reads what a checkpoint keeps of the validation images of its run.

    Raises:
        CheckpointError: See `read_checkpoint`; or it keeps nothing of them.
    """
    values = read_checkpoint(path).get(VALIDATED)
    if values is None:
        raise CheckpointError(
            f"{path} keeps no predictions of validation images, to which a threshold could be fitted: its run is not"
            f" finished, has fewer than {MIN_ANSWERED} of them, or is of an earlier version; train it to its end"
        )
    try:
        return ValidatedImages.from_tensors(values)
    except (AttributeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({first_line(error)}); use another checkpoint") from None
