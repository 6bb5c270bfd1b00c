"""`export`: a checkpoint in, a proven ONNX file out."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classifier_training.config import load_config
from classifier_training.config.arguments import Overrides, collect_overrides
from classifier_training.config.schema import ExportConfig
from classifier_training.data.splits.file import read_split
from classifier_training.errors import ConfigError, RunError
from classifier_training.exporters.verified import export_verified
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import preprocess
from classifier_training.inference.labels import Labels
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.run.folder import RunFolder, open_run
from classifier_training.terminal.terminal import Terminal
from classifier_training.types import ImageRecord, Preprocessing

NUM_VERIFICATION_IMAGES = 32


def export(run: str | os.PathLike[str], *overrides: Overrides, quiet: bool = False) -> Path:
    """Exports the best weights of a run to ``export/model.onnx`` and proves that the file answers like the model.

    Args:
        run: A run folder.
        overrides: Settings that differ from the run's, such as ``"export.exporter=dynamo"``.
        quiet: Say nothing.

    Returns:
        The ``model.onnx``.

    Raises:
        RunError: There is no such run, or it has no best checkpoint.
        VerificationError: The file does not answer like the model; it is removed.

    Example:
        >>> export("runs/shirts")  # doctest: +SKIP
    """
    folder = open_run(Path(run))
    words = collect_overrides(overrides)
    foreign = [word for word in words if not word.startswith("export.")]
    if foreign:
        raise ConfigError(
            f"export takes settings of export. only, not {', '.join(foreign)}: the model is trained already"
        )
    config = load_config(words, file=folder.config)
    export_checkpoint(folder, config.export, Terminal(quiet=quiet))
    return folder.onnx


def export_checkpoint(run: RunFolder, config: ExportConfig, terminal: Terminal) -> dict[str, Any]:
    """Exports ``best.ckpt`` of a run, verified on its own validation images; returns the figures."""
    if not run.best_checkpoint.is_file():
        raise RunError(f"{run.root} has no checkpoints/best.ckpt to export; finish it: train --resume {run.root}")
    terminal.info(f"exporting {run.best_checkpoint} …")
    model = load_model(run.best_checkpoint)
    records = [sample.image for sample in read_split(run.split, "val")]
    images = _verification_images(records, model.preprocessing, model.config.data.max_image_pixels)
    figures = export_verified(
        model.to(memory_format=torch.contiguous_format),
        run.onnx,
        images,
        opset_version=config.opset_version,
        exporter=config.exporter,
        tolerance=config.tolerance,
        labels=Labels(model.classes, model.preprocessing),
        record={"weights": "checkpoints/best.ckpt", "epoch": int(read_checkpoint(run.best_checkpoint)["epoch"])},
    )
    terminal.info(
        f"proven on {figures['num_images']} validation images: top-1 agreement {figures['top1_agreement']:.0%},"
        f" largest logit difference {figures['max_abs_logit_difference']:.1e}"
    )
    return figures


def _verification_images(records: Sequence[ImageRecord], preprocessing: Preprocessing, max_pixels: int) -> Tensor:
    """Images from all over the split, float32 (n, 3, S, S)."""
    step = max(1, len(records) // NUM_VERIFICATION_IMAGES)
    chosen = itertools.islice(records[::step], NUM_VERIFICATION_IMAGES)
    images = (decode_image(record, max_pixels=max_pixels) for record in chosen)
    return torch.from_numpy(np.stack([preprocess(decoded, preprocessing) for decoded in images]))
