"""What was trained, how good it is, and whether the exported file is verified."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePath
from typing import Any

from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.pages.caveats import caveats
from classifier_training.pages.charts.bars import score_scale
from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.section import Section, count_photos, num_all_epochs
from classifier_training.pages.sections.curves import NAMES, write_metric
from classifier_training.pages.wording import SPACE, byte_size, count, decimal, large_number, moment, percentage
from classifier_training.terminal.terminal import duration
from classifier_training.types import NUM_VIEWS

KEY, TITLE = "verdict", "Summary"


def verdict_section(data: RunData) -> Section:
    """The head of the page."""
    scored = data.scored
    interval = None if scored is None else scored.intervals.get("top1")
    values = {
        "score": None if scored is None else percentage(scored.top1).removesuffix(f"{SPACE}%"),
        "is_final": data.final is not None,
        "sentence": score_sentence(data),
        "scale": None if scored is None else score_scale(scored.top1, interval, score_sentence(data)),
        "others": [] if scored is None else _other_scores(scored),
        "interval_hint": "" if scored is None else _interval_hint(scored),
        "progress": _progress(data),
        "facts": run_facts(data, scored),
        "export": _export(data),
        "caveats": caveats(data),
    }
    return Section(KEY, TITLE, values=values)


def score_sentence(data: RunData) -> str:
    """The score and its interval in a sentence that follows the number."""
    scored = data.scored
    if scored is None:
        return "Nothing has been scored yet."
    of_photos = f"of {count_photos(scored)} classified correctly"
    augmented = "" if scored.tta == "none" else f", with test-time augmentation {scored.tta}"
    so_far = f" after epoch {scored.epoch + 1}" if data.status == "training" and scored.epoch is not None else ""
    interval = scored.intervals.get("top1")
    if interval is None:
        return f"{of_photos}{so_far}{augmented}."
    low, high = (percentage(end, 0) for end in interval)
    return f"{of_photos}{so_far}{augmented}. On similar photos, expect between {low} and {high}."


def _other_scores(scored: ScoredData) -> list[dict[str, Any]]:
    left_out = {"top1"} if _has_top5(scored) else {"top1", "top5"}
    shown = []
    for key in [name for name in SCORE_TITLES if name not in left_out]:
        interval = scored.intervals.get(key)
        ends = "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
        shown.append({"name": SCORE_TITLES[key], "value": percentage(getattr(scored, key)), "range": ends})
    return shown


def _has_top5(scored: ScoredData) -> bool:
    """Whether it is informative: with five classes every photo is correct."""
    return len(scored.classes) > 5


def _interval_hint(scored: ScoredData) -> str:
    """How the intervals were computed."""
    tops = "top-1 and top-5" if _has_top5(scored) else "top-1"
    methods = {
        tops: ("Wilson", scored.intervals.get("top1")),
        "balanced accuracy and macro F1": ("bootstrap", scored.intervals.get("balanced_accuracy")),
    }
    known = [f"{method} for {names}" for names, (method, interval) in methods.items() if interval is not None]
    return f"{percentage(scored.confidence_level, 0)} confidence intervals: {', '.join(known)}." if known else ""


def _progress(data: RunData) -> dict[str, Any] | None:
    """The progress of an unfinished training."""
    if data.status != "training":
        return None
    best = None
    if data.best_epoch is not None:
        name = NAMES.get(data.monitor, data.monitor)
        best = f"Best so far: {name} {write_metric(data.monitor, data.best_score)} in epoch {data.best_epoch + 1}."
    seconds = data.timings.known("seconds")
    left = None
    if seconds and data.max_epochs is not None and data.max_epochs > data.num_epochs:
        left = duration(sum(seconds) / len(seconds) * (data.max_epochs - data.num_epochs))
    return {
        "done": data.num_epochs,
        "wanted": data.max_epochs,
        "best": best,
        "left": left,
        "resume": data.commands.get("resume"),
    }


def _export(data: RunData) -> dict[str, Any] | None:
    """The exported file and its verification."""
    if data.status == "evaluation":
        return None
    verification, file = data.verification, data.onnx
    if file is None:
        why = "It is written when training is finished." if data.status == "training" else "There is no exported file."
        if setting(data.config, "export", "enabled") is False:
            why = "The export was switched off (export.enabled=false)."
        return {"name": None, "state": "none", "text": why}
    digest = file.sha256 or (verification.sha256 if verification is not None else None)
    state, text = _verification(data)
    return {
        "name": one_line(PurePath(file.path).name),
        "size": byte_size(file.size),
        "sha256": digest,
        "state": state,
        "text": text,
    }


def _verification(data: RunData) -> tuple[str, str]:
    verification, file = data.verification, data.onnx
    if verification is not None and not verification.passed:
        return "failed", "It does not give the same predictions as the trained model. Do not use it."
    if verification is None or file is None or not file.is_verified:
        is_other = "the comparison was made with another file or epoch"
        return "unverified", f"Not verified: {'verification.json is missing' if verification is None else is_other}."
    difference, tolerance = decimal(verification.max_abs_logit_difference, 2), decimal(verification.tolerance, 2)
    return "verified", (
        f"onnxruntime predicts the same class as the trained model for {count(verification.num_images, 'photo')}; the"
        f" logits differ by at most {difference} ({tolerance} is allowed)."
    )


def run_facts(data: RunData, scored: ScoredData | None) -> list[tuple[str, list[str]]]:
    """Terms with their lines."""
    facts = [("Model", _model_lines(data, scored)), ("Photos", _photo_lines(data, scored))]
    if data.status != "evaluation":
        facts.append(("Training", _training_lines(data)))
    if scored is not None and scored.epoch is not None:
        total = num_all_epochs(data)
        of_all = f" of {total}" if total else ""
        name = f"epoch {scored.epoch + 1}{of_all}"
        if scored.weights is not None:
            name = one_line(scored.weights)
        weights = [name, one_line(scored.model), _arithmetic(scored.precision)]
        facts.append(("Weights scored", weights))
    if scored is not None and scored.tta != "none":
        views = NUM_VIEWS[scored.tta]
        lines = [f"{scored.tta}: mean of the probabilities of {views} views of a photo", f"{views} × the time"]
        facts.append(("Test-time augmentation", lines))
    return [(term, [line for line in lines if line]) for term, lines in facts if any(lines)]


def _arithmetic(precision: str | None) -> str:
    """In which precision the scores were computed; empty where that is not known."""
    if precision is None or precision == "float32":
        return "" if precision is None else "in float32, as the exported file answers"
    return f"in {one_line(precision)}, the precision of the training"


def _model_lines(data: RunData, scored: ScoredData | None) -> list[str]:
    info = data.model_info
    named = [setting(data.config, "model", "name"), info.model if info else None, scored.model if scored else None]
    lines = [] if info is None else [f"{large_number(info.num_parameters)} parameters"]
    if "model" in data.config:
        lines.append(_start(data))
    return [one_line(str(next((name for name in named if name), ""))), ", ".join(lines)]


def _start(data: RunData) -> str:
    """What the training started from."""
    source, name = (setting(data.environment, "weights", key) for key in ("source", "name"))
    if source == "missing":
        return "from scratch, as no pretrained weights were found"
    if source in {"package", "cache", "hub"} and name:
        return f"from pretrained weights: {one_line(str(name))}"
    is_started = setting(data.config, "model", "pretrained") or setting(data.config, "model", "weights")
    return "from pretrained weights" if is_started else "from scratch"


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
    try:
        started = moment(datetime.fromisoformat(str(data.environment.get("started"))))
    except (ValueError, OverflowError):  # the first and the last day of the calendar have no local time
        started = ""
    if data.seconds is None:
        return [f"{epochs} done", where, started]
    return [epochs, f"{duration(data.seconds)} {where}".strip(), started]
