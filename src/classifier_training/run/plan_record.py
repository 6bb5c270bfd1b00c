"""``plan.json``: how a run trains, as the terminal showed it before the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from classifier_training.files.credentials import without_credentials
from classifier_training.files.text import plain_text
from classifier_training.run.folder import RunFolder
from classifier_training.run.records import FORMAT, DamagedFileError, Format, read_record, write_record

_CHANGES: Final = "training"
"""The row of a plan that a resumed run may change: its number of epochs, its batches and its devices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecord:
    """The rows of the plan.

    Attributes:
        rows: Names and texts, in their order.
    """

    rows: dict[str, str] = field(default_factory=dict)
    format: Format = FORMAT


def write_plan(run: RunFolder, rows: Mapping[str, str], *, is_resumed: bool) -> None:
    """Writes the plan; where a run is resumed, all but its batches stay as they were when it began.

    Args:
        run: Its folder.
        rows: Of the plan of this process.
        is_resumed: Whether it goes on from a checkpoint.
    """
    plain = {name: without_credentials(plain_text(text)) for name, text in rows.items()}
    try:
        before = read_record(run.plan, PlanRecord).rows
    except (OSError, DamagedFileError):  # of a new run, or of an early version
        if is_resumed:
            return
        before = {}
    if is_resumed:
        plain = {name: text for name, text in plain.items() if name == _CHANGES or name not in before}
    write_record(run.plan, PlanRecord(rows={**before, **plain}))  # only the first start knew why
