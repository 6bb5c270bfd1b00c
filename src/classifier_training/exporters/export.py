"""`export`: a checkpoint in, a proven file to deploy out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from classifier_training.config import load_config
from classifier_training.config.arguments import read_overrides
from classifier_training.config.overrides import OverrideLike
from classifier_training.config.schema import Config, DecisionConfig, ExportConfig
from classifier_training.errors import ConfigError, ExportError, OutOfMemoryError, RunError
from classifier_training.exporters.card_data import read_filled_in
from classifier_training.exporters.deployed_decision import card_of_form, deployed_decision
from classifier_training.exporters.forms import (
    DEFAULT_FORM,
    FORMS,
    ExportSettings,
    check_form,
    export_form,
    files_beside,
    form_of,
)
from classifier_training.exporters.model_card import card_kept_current, write_model_card
from classifier_training.exporters.proof import logits_of_model
from classifier_training.exporters.proof_images import Scored, proof_images
from classifier_training.exporters.recorded import compare_recorded
from classifier_training.exporters.scheme_table import schemes_shown
from classifier_training.exporters.validation_answers import validation_answers
from classifier_training.exporters.verified import check_unchanged, export_unproven, export_verified
from classifier_training.inference.card import DeploymentCard
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.models.head_features import tensors_hash
from classifier_training.pages.write import report
from classifier_training.run.folder import ExportFolder, RunFolder, open_run
from classifier_training.run.records import DamagedFileError, read_record
from classifier_training.run.verification import Verification
from classifier_training.terminal.terminal import Terminal


def export(
    run: str | os.PathLike[str],
    *overrides: OverrideLike,
    form: str = DEFAULT_FORM,
    quiet: bool = False,
    unproven: bool = False,
    overwrite: bool = False,
) -> Path:
    """Exports the best weights of a run into its ``export/``, and proves that the file answers like the model.

    Args:
        run: A run folder.
        overrides: Settings that differ from the run's, such as ``"export.exporter=dynamo"``.
        form: One of `exporters.forms.FORMS`.
        quiet: Print nothing.
        unproven: Compare the file with nothing; ``unproven`` is in its name, and nothing else in ``export/`` changes.
        overwrite: Replace a file also if it was changed after it was exported.

    Returns:
        The exported file.

    Raises:
        ConfigError: There is no such form, or a setting is not one of the export.
        RunError: There is no such run, it has no best checkpoint, or a file was changed since it was exported.
        VerificationError: The file does not answer like the model, and is removed.
    """
    check_form(form)
    folder = open_run(Path(run))
    config, targets = _settings_given(folder, overrides)
    terminal = Terminal(quiet=quiet)
    if unproven:
        return _export_unproven(folder, config, terminal, form, targets)
    if not overwrite:
        check_unchanged(ExportFolder(folder.export), form)
    filled_in = read_filled_in(ExportFolder(folder.export).card_data)  # before anything is replaced
    with _report_kept_current(folder):
        export_checkpoint(folder, config, terminal, form, targets)
    _write_card(folder, filled_in, terminal)
    return folder.exported(form)


def _settings_given(run: RunFolder, overrides: Sequence[OverrideLike]) -> tuple[Config, DecisionConfig | None]:
    """The settings, and the targets of the decision where they were given."""
    given = read_overrides(*overrides)
    config = load_config(given, file=run.config)
    foreign = [f"{one.key}={one.shown}" for one in given.settings if not one.key.startswith(("export.", "decision."))]
    if foreign:
        raise ConfigError(
            f"export takes settings of export. and decision. only, not {', '.join(foreign)}: the model is already"
            " trained"
        )
    return config, config.decision if any(one.key.startswith("decision.") for one in given.settings) else None


@contextlib.contextmanager
def _report_kept_current(run: RunFolder) -> Iterator[None]:
    """Writes the report again, where there is one: it shows what became of each form, also of one that is refused."""
    try:
        yield
    except ExportError:
        _write_report(run)
        raise
    _write_report(run)


def _write_report(run: RunFolder) -> None:
    if run.report.is_file():
        report(run.root)


def _write_card(run: RunFolder, filled_in: dict[str, Any], terminal: Terminal) -> None:
    changed = write_model_card(run, filled_in)
    if changed:
        terminal.warn(
            f"{' and '.join(changed)} in {run.export} were changed by hand and are left as they are, with the facts"
            " of then; move them away to have them written again, and keep your own words in fill_in of model_card.json"
        )


def _export_unproven(
    run: RunFolder, config: Config, terminal: Terminal, form: str, targets: DecisionConfig | None
) -> Path:
    model, card, _ = _trained(run, targets, terminal)
    card = card_of_form(card, form)
    path = export_unproven(model, ExportFolder(run.export), export_form(form), settings_of(config.export), card)
    terminal.warn(f"{path} is unproven: nothing has compared it with the trained model")
    return path


def settings_of(config: ExportConfig) -> ExportSettings:
    """How a run is exported."""
    return ExportSettings(**{one.name: getattr(config, one.name) for one in fields(ExportSettings)})


def export_checkpoint(
    run: RunFolder,
    config: Config,
    terminal: Terminal,
    form: str = DEFAULT_FORM,
    targets: DecisionConfig | None = None,
    scored: Scored | None = None,
) -> dict[str, Any]:
    """Exports ``best.ckpt`` of a run, verified on its own validation images; returns the figures.

    ``targets`` are what its thresholds are to reach; None: they are those of the checkpoint. ``scored`` is as of
    `proof_images`.
    """
    model, card, epoch = _trained(run, targets, terminal)
    images, decision = proof_images(run, model, config, card, scored), card.decision
    recorded = compare_recorded(run, images, logits_of_model(model, images), card, epoch)
    weights, folder = tensors_hash(model.state_dict()), ExportFolder(run.export)
    shown = schemes_shown(terminal, folder.verification_of(form))
    with shown, card_kept_current(run), _outdated_removed(folder, form, epoch, weights, terminal):
        figures = export_verified(
            model,
            folder,
            images,
            export_form(form),
            settings_of(config.export),
            card=card_of_form(card, form),
            record={
                "weights": "checkpoints/best.ckpt",
                "epoch": epoch,
                "weights_hash": weights,
                "verification_images": config.export.verification_images,
                "abstain_threshold": None if decision is None else decision.abstain_threshold,
                "set_threshold": None if decision is None else decision.set_threshold,
                "recorded": recorded or None,
            },
        )
    for sentence in _describe(figures):
        terminal.info(sentence)
    _warn_of_recorded(recorded, terminal)
    return figures


def _warn_of_recorded(recorded: Mapping[str, Any], terminal: Terminal) -> None:
    if "first" in recorded:
        terminal.warn(
            f"the validation of the training gave other labels for {1 - recorded['top1_agreement']:.2%} of these images"
            f" than the same weights give now: {recorded['first']}; its cache of images or its device computed"
            " otherwise, so do not trust its scores before you know why"
        )


def _trained(
    run: RunFolder, targets: DecisionConfig | None, terminal: Terminal
) -> tuple[BaseClassificationModel, DeploymentCard, int]:
    """The model of ``best.ckpt``, what its exported file is to know, and the epoch, from 0."""
    if not run.best_checkpoint.is_file():
        raise RunError(f"{run.root} has no checkpoints/best.ckpt to export; finish it: train --resume {run.root}")
    terminal.info(f"exporting {run.best_checkpoint} …")
    model = load_model(run.best_checkpoint)
    decision = deployed_decision(run, model, targets, terminal)
    epoch = int(read_checkpoint(run.best_checkpoint)["epoch"])
    answers = validation_answers(run, model.classes, decision)
    card = DeploymentCard(
        model.classes,
        model.preprocessing,
        model.temperature,
        decision=decision,
        validation=answers,
        unknown=None if model.unknown is None else model.unknown.card,
    )
    return model.to(memory_format=torch.contiguous_format), card, epoch


@contextlib.contextmanager
def _outdated_removed(
    folder: ExportFolder, form: str, epoch: int, weights_hash: str, terminal: Terminal
) -> Iterator[None]:
    """Removes the files of other forms that hold other weights than those of a form, also where that is refused."""
    try:
        yield
    except (ExportError, OutOfMemoryError):
        _remove_outdated(folder, form, epoch, weights_hash, terminal)
        raise
    _remove_outdated(folder, form, epoch, weights_hash, terminal)


def _remove_outdated(folder: ExportFolder, form: str, epoch: int, weights_hash: str, terminal: Terminal) -> None:
    for other in FORMS:
        path, verification = folder.model(other), folder.verification_of(other)
        if other == form or not path.is_file():
            continue
        with contextlib.suppress(DamagedFileError, OSError):
            record = read_record(verification, Verification)
            if record.epoch == epoch and record.weights_hash in {None, weights_hash}:  # older records have no hash
                continue
        path.unlink(missing_ok=True)
        verification.unlink(missing_ok=True)
        for beside in files_beside(form_of(other), path):
            beside.unlink(missing_ok=True)
        terminal.info(f"removed: {path}, of other weights; export it again: --form {other}")


def _describe(figures: dict[str, Any]) -> Iterator[str]:
    """How exactly the file answers like the model; and where the library that reads it prepares the images, too."""
    yield (
        f"verified on {figures['num_images']} validation images: top-1 agreement {figures['top1_agreement']:.0%},"
        f" largest logit difference {figures['max_abs_logit_difference']:.1e}"
    )
    own = figures.get("own_reading")
    if own is None:
        return
    if "error" in own:
        yield f"{own['by']} cannot read the image files as this program does: {own['error']}"
        return
    difference = own["max_abs_logit_difference"]
    shown = "not a finite number" if difference is None else f"{difference:.1e}"
    advice = (
        "" if not own["max_abs_input_difference"] else "; it turns no photo upright by its EXIF entry: do that first"
    )
    yield (
        f"where {own['by']} opens and prepares the image files, too: top-1 agreement {own['top1_agreement']:.0%},"
        f" largest logit difference {shown}{advice}"
    )
