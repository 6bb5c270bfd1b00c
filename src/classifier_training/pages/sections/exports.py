"""The exported files besides ``model.onnx``: what each was proven to be, and the 8-bit schemes that were tried."""

from __future__ import annotations

from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.section import Section
from classifier_training.pages.wording import DASH, SPACE, byte_size, count, decimal, percentage
from classifier_training.run.verification import SchemeTrial, Verification

KEY, TITLE = "exports", "Exported files"


def exports_section(data: RunData) -> Section | None:
    """Only a run that was exported in another form than ``onnx`` has it; the summary has that one."""
    if not data.exports:
        return None
    num_refused = sum(not one.passed for one in data.exports.values())
    lead = (
        f"{count(len(data.exports), 'other form')} of the model {'was' if len(data.exports) == 1 else 'were'} exported"
    )
    lead += f"; {num_refused} did not pass, and there is no such file." if num_refused else ", and proven on photos."
    rows = [_row(one_line(form), record) for form, record in data.exports.items()]
    tried = next((record for record in data.exports.values() if record.schemes), None)
    values = {
        "rows": rows,
        "schemes": [] if tried is None else _scheme_rows(tried),
        "cpu": "" if tried is None else tried.cpu,
    }
    return Section(KEY, TITLE, lead=lead, is_of_training=True, values=values)


def _row(form: str, record: Verification) -> tuple[str, ...]:
    verdict = "passed" if record.passed else one_line(record.reason or "did not pass", 300)
    difference = decimal(record.max_abs_logit_difference, 2)
    photos = f"{record.num_images:,}" if record.num_images else DASH
    return form, verdict, photos, percentage(record.top1_agreement), percentage(record.top1), difference


def _scheme_rows(record: Verification) -> list[tuple[str, ...]]:
    """float32 first."""
    size = DASH if record.float_bytes is None else byte_size(record.float_bytes)
    one = f"1{SPACE}×"
    first = ("float32", one, one, size, percentage(1.0), percentage(record.top1_of_model), DASH, DASH)
    return [first, *map(_scheme_row, record.schemes)]


def _scheme_row(trial: SchemeTrial) -> tuple[str, ...]:
    speeds = [f"{decimal(speed)}{SPACE}×" for speed in (trial.speedups or {}).values()]
    size = DASH if trial.bytes is None else byte_size(trial.bytes)
    shares = (percentage(trial.top1_agreement), percentage(trial.top1), decimal(trial.p_value, 2))
    verdict = one_line(trial.verdict if trial.error is None else f"{trial.verdict}: {trial.error}", 200)
    return (one_line(trial.scheme), *(speeds or [DASH, DASH]), size, *shares, verdict)
