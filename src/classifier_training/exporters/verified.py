"""Export, comparison and the files next to the model, as one step that leaves no unproven file behind."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from classifier_training.errors import ExportError, OutOfMemoryError, RunError, VerificationError, explain_out_of_memory
from classifier_training.exporters.forms import ExportForm, ExportSettings, ProofImages, files_beside
from classifier_training.exporters.self_test import store_self_test
from classifier_training.exporters.verification import versions
from classifier_training.files.atomic import atomic_path, write_json
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.labels import labels_mapping
from classifier_training.run.folder import ExportFolder
from classifier_training.run.records import DamagedFileError, read_record
from classifier_training.run.verification import Verification

UNPROVEN_ENTRY: Final = "unproven"
"""The entry of a file's metadata that says that it was compared with nothing; a proven file has none."""


def export_verified(
    model: nn.Module,
    folder: ExportFolder,
    images: ProofImages,
    form: ExportForm,
    settings: ExportSettings,
    card: DeploymentCard | None = None,
    record: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Exports ``model`` if the form accepts the file; returns the content of ``verification.json``.

    Args:
        model: On the CPU, in evaluation mode, float32.
        folder: Gets the model, its companions, its ``verification.json`` and, with a card, ``labels_mapping.json``.
        images: Real images; the height and width of the prepared ones become those of the model's input.
        form: Builds and accepts the file.
        settings: How it is built and how exact it must be.
        card: What travels inside the file; None leaves it out.
        record: Further entries for ``verification.json``, such as which weights these are.

    Raises:
        ExportError: The model cannot be exported, or the file is not accepted (`VerificationError`).
    """
    path, verification = folder.model(form.name), folder.verification_of(form.name)
    figures: dict[str, Any] = {"passed": False, "form": form.name, **asdict(settings), **(record or {})}
    metadata = {"versions": json.dumps(versions())} | (card.to_metadata() if card else {})
    advice = f"free memory of this machine, or lower export.verification_images (now {len(images.prepared)})"
    with (
        _failure_recorded([path, *files_beside(form, path)], verification, figures),
        explain_out_of_memory(f"exporting {path}", advice),
        atomic_path(path) as temporary,
        _parts_moved(form, temporary, path),
    ):
        form.build(model, temporary, images.prepared, settings, metadata)
        _accept(form, temporary, model, images, settings, figures)
        if card is not None and path.suffix == ".onnx":
            figures |= store_self_test(temporary, images.originals, settings.self_test_images, form.name)
    _write_beside(form, folder, card)
    write_json(verification, figures)
    return figures


def _write_beside(form: ExportForm, folder: ExportFolder, card: DeploymentCard | None) -> None:
    """The companions of an accepted file, and its classes and preprocessing."""
    path = folder.model(form.name)
    for name, content_of in form.companions.items():
        write_json(path.with_name(name), content_of(path))
    if card is not None:
        write_json(folder.labels_mapping, labels_mapping(card.classes, card.preprocessing))


def _accept(
    form: ExportForm,
    path: Path,
    model: nn.Module,
    images: ProofImages,
    settings: ExportSettings,
    figures: dict[str, Any],
) -> None:
    """Converts a file that was built and compares it; the figures so far get the others also where it is refused."""
    if form.convert is not None:
        figures |= form.convert(path, model, images, settings)
    if "reason" not in figures:
        figures |= form.acceptance(path, model, images, settings)
    if not figures["passed"]:
        raise VerificationError(figures["reason"])


def export_unproven(
    model: nn.Module, folder: ExportFolder, form: ExportForm, settings: ExportSettings, card: DeploymentCard
) -> Path:
    """Exports ``model`` without a comparison, under a name that says so; returns the file.

    Nothing else in the folder changes: neither a proven file of the form nor its record.

    Args:
        model: As of `export_verified`.
        folder: Gets the model, its parts and its companions, each with ``unproven`` in its name.
        form: Builds the file.
        settings: How it is built.
        card: What travels inside the file, with its preprocessing.

    Raises:
        ExportError: The model cannot be exported.
    """
    path, size = unproven(folder.model(form.name)), card.preprocessing.image_size
    metadata = {"versions": json.dumps(versions()), UNPROVEN_ENTRY: json.dumps(True), **card.to_metadata()}
    with (
        explain_out_of_memory(f"exporting {path}", "free memory of this machine"),
        atomic_path(path) as temporary,
        _parts_moved(form, temporary, path),
    ):
        images = torch.zeros(1, 3, size, size)
        form.build(model, temporary, images, settings, metadata)
        if form.convert is not None:
            form.convert(temporary, model, ProofImages(images), settings)
    for name, content_of in form.companions.items():
        write_json(unproven(path.with_name(name)), content_of(path))
    return path


def unproven(path: Path) -> Path:
    """The name of an exported file that was compared with nothing."""
    return path.with_name(f"{path.stem}.unproven{path.suffix}")


def check_unchanged(folder: ExportFolder, form: str) -> None:
    """Refuses to replace a file that is not the one that was exported there.

    Raises:
        RunError: It was changed, or put there by somebody else.
    """
    path, verification = folder.model(form), folder.verification_of(form)
    if not path.is_file():
        return
    with contextlib.suppress(OSError, DamagedFileError):
        recorded = read_record(verification, Verification).sha256
        with path.open("rb") as file:
            if recorded in {None, hashlib.file_digest(file, "sha256").hexdigest()}:  # older records have none
                return
    raise RunError(
        f"{path} is not the file that was exported: its SHA-256 is not that in {verification.name}; move it away, or"
        " replace it with --overwrite"
    )


@contextlib.contextmanager
def _parts_moved(form: ExportForm, temporary: Path, path: Path) -> Iterator[None]:
    """Gives the parts of an accepted file their names before it gets its own; of one that is not they are removed.

    In between there is no file at ``path``: an older one would be read with the new parts.
    """
    try:
        yield
        for suffix in form.parts:
            with temporary.with_suffix(suffix).open("rb") as file:
                os.fsync(file.fileno())
            path.unlink(missing_ok=True)
            temporary.with_suffix(suffix).replace(path.with_suffix(suffix))
    finally:
        for suffix in form.parts:
            temporary.with_suffix(suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def _failure_recorded(paths: Sequence[Path], verification: Path, figures: Mapping[str, Any]) -> Iterator[None]:
    """Writes why there are no files, and what is known of them until then."""
    try:
        yield
    except (ExportError, OutOfMemoryError) as error:
        for path in paths:
            path.unlink(missing_ok=True)  # an older file would hold other weights
        write_json(verification, {**figures, "passed": False, "reason": str(error)})
        raise
