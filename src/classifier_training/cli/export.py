"""The command ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier_training.cli.arguments import (
    Quiet,
    Settings,
    TargetCoverage,
    TargetPrecision,
    read_settings,
    target_settings,
)

Unproven = Annotated[
    bool, typer.Option("--unproven", help="Compare the file with nothing; its name says so: model.unproven.onnx.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file also if it was changed after it was exported.")
]


Form = Annotated[
    str,
    typer.Option(
        "--format",
        "--form",
        help="Form of the exported file: onnx, end-to-end, fp16, int8, safetensors, torch-export or openvino.",
    ),
]


def export(
    run: Annotated[str, typer.Argument(help="Run folder.", metavar="RUN")],
    settings: Settings = None,
    form: Form = "onnx",
    target_precision: TargetPrecision = None,
    target_coverage: TargetCoverage = None,
    unproven: Unproven = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Export a run's best weights as ONNX or in another form, and verify the file against PyTorch on real images.

    Examples:
      classifier-training export runs/shirts
      classifier-training export runs/shirts export.opset_version=17
      classifier-training export runs/shirts --form end-to-end
      classifier-training export runs/shirts --form int8 export.min_speedup=0
      classifier-training export runs/shirts --form safetensors
      classifier-training export runs/shirts --form torch-export
      classifier-training export runs/shirts --form openvino
    """
    from classifier_training.config import load_config
    from classifier_training.exporters.forms import check_form
    from classifier_training.run.folder import open_run

    check_form(form)
    overrides = read_settings([*(settings or ()), *target_settings(target_precision, target_coverage)])
    load_config(overrides, file=open_run(Path(run)).config)  # mistakes first: what follows takes seconds to import
    from classifier_training.exporters.export import export as run_export
    from classifier_training.run.stop_requests import ended_by_sigterm
    from classifier_training.terminal.terminal import Terminal

    terminal = Terminal(quiet=quiet)
    with terminal.capture_warnings(), ended_by_sigterm():
        path = run_export(run, overrides, form=form, quiet=quiet, unproven=unproven, overwrite=overwrite)
    terminal.info(f"written: {path}" if unproven else _written(path, form))


def _written(path: Path, form: str) -> str:
    """Which files there are now."""
    from classifier_training.exporters.forms import export_form, files_beside
    from classifier_training.pages.wording import listing
    from classifier_training.run.folder import ExportFolder

    folder = ExportFolder(path.parent)
    beside = [one.name for one in files_beside(export_form(form), path)]
    beside += [folder.labels_mapping.name, folder.verification_of(form).name, folder.card.name]
    return f"written: {path}, with {listing(beside)} in the same folder"
