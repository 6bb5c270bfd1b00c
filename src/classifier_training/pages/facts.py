"""The model, the photos and the training of a run, a few lines each."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePath

from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.section import num_all_epochs
from classifier_training.pages.wording import count, large_number, moment
from classifier_training.terminal.terminal import duration


def run_facts(data: RunData, scored: ScoredData | None) -> list[tuple[str, list[str]]]:
    """Terms with their lines."""
    facts = [("Model", _model_lines(data, scored)), ("Photos", _photo_lines(data, scored))]
    if data.status != "evaluation":
        facts.append(("Training", _training_lines(data)))
    if scored is not None and scored.epoch is not None:
        total = num_all_epochs(data)
        of_all = f" of {total}" if total else ""
        facts.append(("Weights scored", [f"epoch {scored.epoch + 1}{of_all}", one_line(scored.model)]))
    return [(term, [line for line in lines if line]) for term, lines in facts if any(lines)]


def _model_lines(data: RunData, scored: ScoredData | None) -> list[str]:
    info = data.model_info
    named = [setting(data.config, "model", "name"), info.model if info else None, scored.model if scored else None]
    lines = [] if info is None else [f"{large_number(info.num_parameters)} parameters"]
    if "model" in data.config:
        is_started = setting(data.config, "model", "pretrained") or setting(data.config, "model", "weights")
        lines.append("from pretrained weights" if is_started else "from scratch")
    return [one_line(str(next((name for name in named if name), ""))), ", ".join(lines)]


def _photo_lines(data: RunData, scored: ScoredData | None) -> list[str]:
    roots = [data.statistics.root if data.statistics else None, setting(data.config, "data", "root")]
    root = next((root for root in [*roots, data.environment.get("data_root")] if root), None)
    if data.status == "evaluation" or root is None:
        return [] if scored is None else [one_line(scored.description), count(scored.num_images, "photo")]
    totals = [] if data.statistics is None else [count(data.statistics.num_images, "photo")]
    if data.classes:
        totals.append(count(len(data.classes), "class", "classes"))
    path = one_line(str(root))
    name = PurePath(path).name or path
    return [name, ", ".join(totals), path if path != name else ""]


def _training_lines(data: RunData) -> list[str]:
    gpus = data.environment.get("gpus")
    devices = gpus if isinstance(gpus, list) and gpus else [setting(data.environment, "cpu", "model")]
    where = (
        "" if not devices[0] else f"on {f'{len(devices)} × ' if len(devices) > 1 else ''}{one_line(str(devices[0]))}"
    )
    epochs = count(data.num_epochs, "epoch")
    if data.seconds is None:
        return [f"{epochs} done", where, _started(data)]
    return [epochs, f"{duration(data.seconds)} {where}".strip(), _started(data)]


def _started(data: RunData) -> str:
    """When training began."""
    try:
        return moment(datetime.fromisoformat(str(data.environment.get("started"))))
    except (ValueError, OverflowError):  # the first and the last day of the calendar have no local time
        return ""
