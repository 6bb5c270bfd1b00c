"""The form ``torch-export``: a ``.pt2`` file of ``torch.export``, which runs with PyTorch and none of our code."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from classifier_training.errors import ExportError, first_line
from classifier_training.exporters.exportable import check_exportable
from classifier_training.exporters.forms import ExportForm, ExportSettings, ProofImages
from classifier_training.exporters.proof import Deployed
from classifier_training.exporters.runtimes import compare_runtime
from classifier_training.exporters.verification import versions
from classifier_training.inference.card import DeploymentCard
from classifier_training.run.folder import TORCH_EXPORT

_TRACED_BATCH_SIZE: Final = 2  # one is the size that may be taken for a constant
_CHATTY_LOGGERS: Final = ("torch.export", "torch._export", "torch.fx")


def export_program(
    model: nn.Module, path: Path, images: Tensor, _settings: ExportSettings, metadata: Mapping[str, str]
) -> None:
    """Exports ``model`` as one graph from images, float32 (N, 3, H, W), to logits, float32 (N, K); N is free.

    Args:
        model: On the CPU, in evaluation mode, float32.
        path: The file to write.
        images: (n, 3, H, W); their size becomes that of the input.
        metadata: Text entries, each of which becomes an extra file of its name inside.

    Raises:
        ExportError: PyTorch cannot export the model, or the file would hold pickled objects of its own code.
    """
    example = torch.zeros(_TRACED_BATCH_SIZE, 3, *images.shape[-2:])
    check_exportable(model, example)
    buffer = io.BytesIO()
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
            program.example_inputs = ((torch.zeros(1).expand_as(example),), {})  # one number in the file
            torch.export.save(program, buffer, extra_files=dict(metadata))
    except Exception as error:  # tracing raises dozens of kinds, also of the model's own code
        raise ExportError(f"torch.export cannot export this model: {first_line(error)}") from error
    pickled = _pickled_parts(buffer)
    if pickled:
        raise ExportError(
            f"torch.export would pickle {', '.join(pickled)} of this model, which would run code where the file is"
            " loaded; use --form onnx"
        )
    path.write_bytes(buffer.getvalue())


def accept_program(path: Path, model: nn.Module, images: ProofImages, settings: ExportSettings) -> dict[str, Any]:
    """Accepts a file that ``torch.export.load`` opens, into a program with the same answers."""
    return compare_runtime(
        path,
        model,
        images,
        settings,
        runtime="torch.export",
        open_file=_open,
        versions=versions("classifier-training", "torch"),
    )


FORM = ExportForm(TORCH_EXPORT, build=export_program, acceptance=accept_program)


def _open(path: Path) -> Deployed:
    entries: dict[str, Any] = {"class_names": ""}  # PyTorch adds all others, unless this is empty
    with _quiet():
        # from memory, as a path has to end in .pt2; a file that this process has just written
        program: Any = torch.export.load(io.BytesIO(path.read_bytes()), extra_files=entries).module()
    card = DeploymentCard.from_metadata({name: text for name, text in entries.items() if text}, str(path))

    def answers(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits = program(torch.from_numpy(images))
        given: NDArray[np.float32] = logits.numpy()
        return given

    return Deployed(answers, card, "torch.export")


def _pickled_parts(buffer: io.BytesIO) -> list[str]:
    """The names of weights and constants that the file holds as pickles, which loading would run."""
    found: list[str] = []
    with zipfile.ZipFile(buffer) as archive:
        for name in archive.namelist():
            if name.endswith(("weights_config.json", "constants_config.json")):
                config = json.loads(archive.read(name))["config"]
                found += [key for key, entry in config.items() if entry["use_pickle"]]
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops what PyTorch logs and warns of; what matters is measured."""
    loggers = [logging.getLogger(name) for name in _CHATTY_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
