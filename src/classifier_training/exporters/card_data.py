"""What a model card says of a run: every fact that its folder holds, as plain values, and the fields for a person."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from classifier_training.errors import RunError
from classifier_training.exporters.forms import FORMS
from classifier_training.files.text import is_file
from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.pages.decision import abstention_sentence, sets_sentence
from classifier_training.pages.read.run_data import RunData, read_run
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.sections.calibration import calibration_sentence, temperature_sentence
from classifier_training.pages.wording import decimal, percentage
from classifier_training.results.decision_effect import describe_sets
from classifier_training.results.results_file import ResultsFile
from classifier_training.results.unknown_effect import describe_choice, describe_unknown
from classifier_training.results.unknown_file import UnknownRecord
from classifier_training.run.folder import ExportFolder, RunFolder
from classifier_training.run.records import DamagedFileError, read_record, to_json
from classifier_training.run.verification import Verification

FIELDS: Final[Mapping[str, str]] = {
    "license": "licence",
    "intended_use": "intended use",
    "limitations": "limitations",
    "data_origin": "where the photos are from, and who may use them",
    "authors": "authors",
    "contact": "contact",
}
"""What only a person knows: the name in the file, and its title."""
_FORMAT: Final = 1


def read_filled_in(path: Path) -> dict[str, Any]:
    """What a person wrote into a ``model_card.json``; all fields are None where there is no such file.

    Raises:
        RunError: The file is damaged, or a field is not text.
    """
    if not is_file(path):
        return dict.fromkeys(FIELDS)
    advice = "mend it, or delete it to begin anew"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read, so what was filled in would be lost: {error}; {advice}") from None
    filled_in = content.get("fill_in") if isinstance(content, dict) else None
    if not isinstance(filled_in, dict):
        raise RunError(f"{path} has no object fill_in, so what was filled in would be lost; {advice}")
    wrong = next((name for name, text in filled_in.items() if not isinstance(text, str | None)), None)
    if wrong is not None:
        raise RunError(f"{path}: fill_in.{wrong} must be text or null, not {filled_in[wrong]!r:.60}; mend it")
    return {**dict.fromkeys(FIELDS), **filled_in}


def card_data(run: RunFolder, filled_in: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``model_card.json``, ready for JSON; what is not known is None or empty.

    No path of this machine is in it, for the card is made to be published.
    """
    data = read_run(run.root)
    folder = ExportFolder(run.export)
    environment = data.environment
    started_from = environment.get("weights") or {}
    return {
        "format": _FORMAT,
        "name": data.name,
        "fill_in": dict(filled_in),
        "classes": list(data.classes),
        "model": _model(data),
        "data": {"photos": _photos(data), "num_left_out": 0 if data.statistics is None else data.statistics.num_bad},
        "scores": None if data.final is None else _scores(data.final),
        "calibration": _calibration(data),
        "unknown": _unknown(run),
        "training": _training(data),
        "weights_from": {
            **started_from,
            "name": _without_folder(started_from),
            "licence": started_from.get("licence"),
            "description": _start(started_from),
        },
        "verification": _verifications(folder),
        "hashes": {
            "data": environment.get("data_fingerprint"),
            "code": environment.get("git_commit"),
            "weights_from": started_from.get("sha256"),
            "checkpoint": _sha256(run.best_checkpoint) if is_file(run.best_checkpoint) else None,
            "files": {path.name: _sha256(path) for path in _exported_files(folder)},
        },
        "versions": {name: version for name, version in (environment.get("versions") or {}).items() if version},
    }


def _model(data: RunData) -> dict[str, Any]:
    info = data.model_info
    return {
        "architecture": setting(data.config, "model", "name") or (None if info is None else info.model),
        "num_parameters": None if info is None else info.num_parameters,
        "image_size": info.input[-1] if info is not None and info.input else setting(data.config, "data", "image_size"),
        "epoch": data.best_epoch,
        "seed": data.environment.get("seed"),
    }


def _photos(data: RunData) -> dict[str, list[int]]:
    """Numbers of photos by split, in the order of the classes."""
    if data.statistics is None or data.statistics.classes != data.classes:
        return {}
    return {split: list(counts) for split, counts in data.statistics.counts.items() if sum(counts)}


def _training(data: RunData) -> dict[str, str]:
    """The rows of the plan, with the names of this machine's files alone."""
    rows = {} if data.plan is None else dict(data.plan.rows)
    weights, teacher = data.environment.get("weights") or {}, data.environment.get("teacher") or {}
    paths = (weights.get("name") if weights.get("source") == "file" else None, teacher.get("teacher"))
    for path in (one for one in (*paths, data.environment.get("data_root")) if one):
        rows = {name: text.replace(path, Path(path).name) for name, text in rows.items()}
    return rows


def _scores(scored: ScoredData) -> dict[str, Any]:
    rows = [asdict(row) for row in scored.per_class]
    return {
        "split": scored.split,
        "num_images": scored.num_images,
        "precision": scored.precision,
        "confidence_level": scored.confidence_level,
        "metrics": {
            name: {"value": getattr(scored, name), "interval": scored.intervals.get(name)} for name in SCORE_TITLES
        },
        "per_class": [{"class": row.pop("name"), **row} for row in rows],
        "expected_calibration_error": scored.calibration.expected_calibration_error,
    }


def _calibration(data: RunData) -> dict[str, Any]:
    """The temperature and the thresholds of the model with what they hold, and the same in sentences."""
    scored, temperature, decision = data.final, data.temperature, data.decision
    sentences: list[str] = []
    if scored is not None and any(one.count for one in scored.calibration.bins):
        sentences.append(calibration_sentence(scored) + temperature_sentence(scored))
    if temperature is not None and temperature.reason:
        sentences.append(f"No temperature was fitted: {temperature.reason}.")
    if decision is not None:
        abstention, sets = decision.measured.abstention, decision.measured.sets
        sentences += [] if abstention is None else [abstention_sentence(abstention, decision)]
        sentences += [] if sets is None else [f"{sets_sentence(decision)} Here {describe_sets(sets)}."]
        sentences += [f"{_capital(one)}." for one in decision.reasons]
    return {"temperature": to_json(temperature), "decision": to_json(decision), "sentences": sentences}


def _unknown(run: RunFolder) -> dict[str, Any]:
    """The score by which images of no class are known, and the same in sentences."""
    record: UnknownRecord | None = None
    with contextlib.suppress(OSError, DamagedFileError):
        record = read_record(run.results, ResultsFile).unknown
    if record is None or not record.kind:
        reasons = [] if record is None else [f"There is none: {record.reason}."]
        return {"record": to_json(record), "sentences": reasons}
    known = f"{percentage(record.known_share)} of {record.num_images} validation photos count as known"
    sentences = [
        f"{_capital(describe_choice(record))}.",
        f"An image counts as unknown where its score is above {decimal(record.threshold)}, chosen so that {known}.",
    ]
    if record.measured is not None:
        sentences.append(f"Of the {record.split} split, {describe_unknown(record.measured)}.")
    return {"record": to_json(record), "sentences": sentences}


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _start(weights: Mapping[str, Any]) -> str:
    """What the training began from, in words."""
    source, name = weights.get("source"), _without_folder(weights)
    if source in {"none", "missing"}:
        return "random weights"
    return f"the weights {name}" if name else "weights that are not recorded"


def _without_folder(weights: Mapping[str, Any]) -> str | None:
    """The name of the starting weights; of a file of this machine without its folder."""
    name = weights.get("name")
    return Path(name).name if name and weights.get("source") == "file" else name


def _verifications(folder: ExportFolder) -> dict[str, Any]:
    """The comparison of each form that is there."""
    found: dict[str, Any] = {}
    for form in FORMS:
        path, verification = folder.model(form), folder.verification_of(form)
        if not is_file(path) or not is_file(verification):
            continue
        try:
            record = read_record(verification, Verification)
        except (OSError, DamagedFileError):
            continue
        is_of_it = record.sha256 in (None, _sha256(path))
        found[form] = {**asdict(record), "passed": record.passed and is_of_it}
    return found


def _exported_files(folder: ExportFolder) -> list[Path]:
    """The exported files, without the card itself, which cannot hold its own hash."""
    if not folder.root.is_dir():
        return []
    own = {folder.card.name, folder.card_data.name, folder.readme.name}
    return sorted(
        path for path in folder.root.iterdir() if path.is_file() and path.name not in own and path.name[0] != "."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
