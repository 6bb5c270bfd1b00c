"""The table of the ways of quantising that were tried, for the screen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from classifier_training.errors import ExportError
from classifier_training.run.records import DamagedFileError, read_record
from classifier_training.run.verification import SchemeTrial, Verification
from classifier_training.terminal.terminal import Terminal

HEADERS = ("scheme", "speed, 1 image", "8 images", "MB", "agreement", "top-1", "p", "verdict")
MISSING = "—"


@contextlib.contextmanager
def schemes_shown(terminal: Terminal, verification: Path) -> Iterator[None]:
    """Prints the table of an export when it ends, also when it fails because none of them is good enough."""
    try:
        yield
    except ExportError:
        _show(terminal, verification)
        raise
    _show(terminal, verification)


def scheme_rows(record: Verification) -> list[list[str]]:
    """The cells of the table, under `HEADERS`: float32 first."""
    top1 = next((record.top1_of_model for _ in record.schemes), None)
    size = MISSING if record.float_bytes is None else f"{record.float_bytes / 1e6:.1f}"
    first = ["float32", "1.00 ×", "1.00 ×", size, "100.0%", _percentage(top1), MISSING, MISSING]
    return [first, *map(_row, record.schemes)]


def _row(trial: SchemeTrial) -> list[str]:
    if trial.error is not None:
        return [trial.scheme, *[MISSING] * (len(HEADERS) - 2), trial.verdict]
    speeds = [f"{speed:.2f} ×" for speed in (trial.speedups or {}).values()]
    size = MISSING if trial.bytes is None else f"{trial.bytes / 1e6:.1f}"
    p_value = MISSING if trial.p_value is None else f"{trial.p_value:.2g}"
    shares = [_percentage(trial.top1_agreement), _percentage(trial.top1)]
    return [trial.scheme, *(speeds or [MISSING] * 2), size, *shares, p_value, trial.verdict]


def _percentage(share: float | None) -> str:
    return MISSING if share is None else f"{share:.1%}"


def _show(terminal: Terminal, verification: Path) -> None:
    with contextlib.suppress(DamagedFileError, OSError):
        record = read_record(verification, Verification)
        if record.schemes:
            title = f"8-bit schemes on {record.cpu}, beside float32 on the validation images"
            terminal.table(title, list(HEADERS), scheme_rows(record))
