"""Numbers as human-readable text; what is not defined is a dash."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone

DASH = "—"
SPACE = "\N{NO-BREAK SPACE}"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percentage(share: float | None, digits: int = 1) -> str:
    """A share in [0, 1] such as ``89.3 %``, with that many digits after the point; never rounded to 0 or 100 %."""
    if share is None or not math.isfinite(share):
        return DASH
    if share in {0, 1}:
        return f"{100 * share:.0f}{SPACE}%"
    step = 10.0**-digits
    shown = round(100 * share, digits)
    if shown >= 100 and share < 1:
        shown = 100 - step
    if shown <= 0 < share:
        return f"under {step:.{digits}f}{SPACE}%"
    return f"{shown:.{digits}f}{SPACE}%"


def decimal(value: float | None, digits: int = 3) -> str:
    """A number with that many significant digits: ``0.00075``, and ``6.7 × 10⁻⁶`` below."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0 or 1e-5 <= abs(value) < 1e6:
        shown = f"{float(f'{value:.{digits}g}'):.10f}".rstrip("0").rstrip(".")
        return shown if abs(value) < 1000 else f"{float(shown):,.0f}"
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}{SPACE}×{SPACE}10{str(int(power)).translate(_RAISED)}"


def count(number: float, thing: str, things: str | None = None) -> str:
    """A whole number and what is counted: ``1 photo``, ``12,345 photos``."""
    return f"{number:,}{SPACE}{thing if number == 1 else things or thing + 's'}"


def byte_size(size: float) -> str:
    """A number of bytes such as ``13.6 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f}{SPACE}{unit}" if unit == "bytes" or size >= 100 else f"{size:.1f}{SPACE}{unit}"
        size /= 1000
    return f"{size:.1f}{SPACE}TB"


def large_number(number: float) -> str:
    """A number such as ``3.39 million``."""
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g}{SPACE}{word}"
    return f"{number:,.0f}"


def moment(time: datetime) -> str:
    """A time such as ``2026-11-23 07:20 UTC+01:00``, in the local zone, unless it has no zone."""
    offset = None if time.tzinfo is None else (time := time.astimezone()).utcoffset()
    return f"{time:%Y-%m-%d %H:%M}{'' if offset is None else f' {timezone(offset)}'}"


def listing(names: Sequence[str], most: int = 4) -> str:
    """Names as a list: ``a, b, c and 7 more``."""
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
