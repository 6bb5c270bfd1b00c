"""What ``/model`` tells of the model: its card, how it was verified, and how well it scored."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from classifier_training.inference.classifier import Classifier
from classifier_training.inference.session import FORM_ENTRY
from classifier_training.results.results_file import ResultsFile
from classifier_training.run.folder import ExportFolder, RunFolder
from classifier_training.run.records import DamagedFileError, read_record, to_json
from classifier_training.run.verification import Verification

_SCORES = ("num_images", "top1", "top5", "balanced_accuracy", "macro_f1", "intervals")


def model_facts(classifier: Classifier, name: str) -> dict[str, Any]:
    """What is known of a model; figures of its folder are taken only where they are of this very file.

    Args:
        classifier: The open file.
        name: What the model is called.

    Returns:
        Ready for JSON: ``name``, ``file``, ``sha256``, ``form``, ``card`` without the pictures of the self-test,
        ``versions`` of the packages that wrote it, ``verification`` and ``scores``; None where one is not known.
    """
    path, metadata = classifier.path, classifier.metadata
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    form = metadata.get(FORM_ENTRY, "onnx")
    verification = _verification(path, form, sha256)
    card = classifier.card.to_metadata()
    card.pop("self_test", None)
    return {
        "name": name,
        "file": path.name,
        "sha256": sha256,
        "form": form,
        "card": {key: json.loads(value) for key, value in card.items()},
        "versions": _json(metadata.get("versions")),
        "verification": None if verification is None else to_json(verification),
        "scores": None if verification is None else _scores(path, verification),
    }


def _verification(path: Path, form: str, sha256: str) -> Verification | None:
    folder = ExportFolder(path.parent)
    with contextlib.suppress(OSError, DamagedFileError):
        found = read_record(folder.verification_of(form), Verification)
        if found.sha256 == sha256:
            return found
    return None


def _scores(path: Path, verification: Verification) -> dict[str, Any] | None:
    """The final scores of the run that a file was exported from, with their intervals of 95 % confidence."""
    run = RunFolder(path.parent.parent)
    with contextlib.suppress(OSError, DamagedFileError):
        results = read_record(run.results, ResultsFile)
        if results.final is not None and results.best_epoch == verification.epoch:
            scores = to_json(results.final)
            return {"split": results.split, **{key: scores[key] for key in _SCORES}}
    return None


def _json(text: str | None) -> Any:
    with contextlib.suppress(ValueError):
        return None if text is None else json.loads(text)
    return None
