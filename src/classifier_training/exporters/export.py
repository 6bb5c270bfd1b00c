"""`export`: a checkpoint in, a proven file to deploy out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from classifier_training.config import load_config
from classifier_training.config.arguments import read_overrides
from classifier_training.config.overrides import OverrideLike
from classifier_training.config.schema import ExportConfig
from classifier_training.data.index.check import content_digest
from classifier_training.data.splits.file import read_split
from classifier_training.data.splits.recorded import check_contents
from classifier_training.errors import ConfigError, RunError
from classifier_training.exporters.forms import DEFAULT_FORM, ExportSettings, check_form, export_form
from classifier_training.exporters.verified import export_verified
from classifier_training.imaging.decode import decode_image, read_image_bytes
from classifier_training.imaging.preprocess import preprocess
from classifier_training.inference.card import DeploymentCard
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.run.folder import ExportFolder, RunFolder, open_run
from classifier_training.terminal.terminal import Terminal

NUM_VERIFICATION_IMAGES = 32


def export(
    run: str | os.PathLike[str], *overrides: OverrideLike, form: str = DEFAULT_FORM, quiet: bool = False
) -> Path:
    """Exports the best weights of a run to ``export/model.onnx`` and proves that the file answers like the model.

    Args:
        run: A run folder.
        overrides: Settings that differ from the run's, such as ``"export.exporter=dynamo"``.
        form: The form of the file, one of `exporters.forms.FORMS`.
        quiet: Print nothing.

    Returns:
        The exported file.

    Raises:
        ConfigError: There is no such form, or a setting is not one of the export.
        RunError: There is no such run, or it has no best checkpoint.
        VerificationError: The file does not answer like the model; it is removed.

    Example:
        >>> export("runs/shirts")  # doctest: +SKIP
    """
    check_form(form)
    folder = open_run(Path(run))
    given = read_overrides(*overrides)
    config = load_config(given, file=folder.config)
    foreign = [f"{one.key}={one.shown}" for one in given.settings if not one.key.startswith("export.")]
    if foreign:
        raise ConfigError(
            f"export takes settings of export. only, not {', '.join(foreign)}: the model is already trained"
        )
    export_checkpoint(folder, config.export, Terminal(quiet=quiet), form)
    return folder.exported(form)


def export_checkpoint(
    run: RunFolder, config: ExportConfig, terminal: Terminal, form: str = DEFAULT_FORM
) -> dict[str, Any]:
    """Exports ``best.ckpt`` of a run, verified on its own validation images; returns the figures."""
    if not run.best_checkpoint.is_file():
        raise RunError(f"{run.root} has no checkpoints/best.ckpt to export; finish it: train --resume {run.root}")
    terminal.info(f"exporting {run.best_checkpoint} …")
    model = load_model(run.best_checkpoint)
    # images from all over the validation split, float32 (n, 3, S, S)
    samples = read_split(run.split, "val")
    chosen = samples[:: max(1, len(samples) // NUM_VERIFICATION_IMAGES)][:NUM_VERIFICATION_IMAGES]
    recorded = samples.digests[:: max(1, len(samples) // NUM_VERIFICATION_IMAGES)][:NUM_VERIFICATION_IMAGES]
    contents = [read_image_bytes(sample.image) for sample in chosen]
    found = np.stack([content_digest(content) for content in contents])
    check_contents(f"the val split of {run.root}", chosen, recorded, found, "restore them, then export again")
    decoding = model.preprocessing.decoding
    if decoding.max_pixels is None:  # a checkpoint of version 0.1
        decoding = replace(decoding, max_pixels=load_config(file=run.config).data.max_image_pixels)
    decoded = (
        decode_image(content, sample.path, decoding=decoding) for content, sample in zip(contents, chosen, strict=True)
    )
    images = torch.from_numpy(np.stack([preprocess(image, model.preprocessing) for image in decoded]))
    figures = export_verified(
        model.to(memory_format=torch.contiguous_format),
        ExportFolder(run.export),
        images,
        export_form(form),
        ExportSettings(config.exporter, config.opset_version, config.tolerance),
        card=DeploymentCard(model.classes, model.preprocessing),
        record={"weights": "checkpoints/best.ckpt", "epoch": int(read_checkpoint(run.best_checkpoint)["epoch"])},
    )
    terminal.info(
        f"verified on {figures['num_images']} validation images: top-1 agreement {figures['top1_agreement']:.0%},"
        f" largest logit difference {figures['max_abs_logit_difference']:.1e}"
    )
    return figures
