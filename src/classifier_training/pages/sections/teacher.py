"""The teacher of a distillation, and its student beside it."""

from __future__ import annotations

from pathlib import PurePath

from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.run_settings import setting
from classifier_training.pages.section import Section
from classifier_training.pages.wording import DASH, decimal, percentage

KEY, TITLE = "teacher", "Teacher"


def teacher_section(data: RunData) -> Section | None:
    """Only a run that learned from a teacher has it."""
    name = setting(data.environment, "teacher", "teacher")
    if not name:
        return None
    backbone, sha256 = (setting(data.environment, "teacher", key) for key in ("backbone", "sha256"))
    weight, temperature = (setting(data.config, "distill", key) for key in ("weight", "temperature"))
    scores = data.teacher
    rows = [("teacher", percentage(scores.top1), decimal(scores.log_loss, 4))] if scores is not None else []
    student = _student(data)
    if student is not None:
        rows.append(("this model", percentage(student[0]), decimal(student[1], 4)))
    shown = _known("backbone", backbone) + _known("run or weights", name) + _known("SHA-256 of its weights", sha256)
    shown += _known("weight of its predictions in the loss", weight) + _known("temperature", temperature)
    values = {"facts": shown, "rows": rows}
    return Section(KEY, TITLE, lead=_lead(data, str(name), student), is_of_training=True, values=values)


def _student(data: RunData) -> tuple[float, float | None] | None:
    """Top-1 and loss of this model on the validation photos: of the final weights, or of the best epoch."""
    is_log_loss = setting(data.config, "loss", "name") in {None, "cross_entropy", "soft_target_cross_entropy"}
    if data.choice is not None:
        return data.choice.best.top1, data.choice.best.loss if is_log_loss else None
    if data.best_epoch is None or data.best_epoch not in data.metrics.epochs:
        return None
    at = data.metrics.epochs.index(data.best_epoch)
    columns = data.metrics.columns
    top1, loss = (columns[key][at] if key in columns else None for key in ("val/top1", "val/loss"))
    return None if top1 is None else (top1, loss if is_log_loss else None)


def _lead(data: RunData, name: str, student: tuple[float, float | None] | None) -> str:
    what = f"The model learned from the labels and from the predictions of {one_line(PurePath(name).name or name, 80)}."
    if data.teacher is None:
        return what
    known = f"{what} The teacher classifies {percentage(data.teacher.top1)} of the validation photos correctly"
    if student is None:
        return f"{known}."
    points = 100 * (student[0] - data.teacher.top1)
    if abs(points) < 0.05:
        return f"{known}, and this model as many."
    return f"{known}, this model {percentage(student[0])}: {abs(points):.1f} points {'more' if points > 0 else 'less'}."


def _known(name: str, value: object) -> list[tuple[str, str]]:
    if value is None:
        return []
    text = f"{value:g}" if isinstance(value, float) else one_line(str(value))
    return [(name, text or DASH)]
