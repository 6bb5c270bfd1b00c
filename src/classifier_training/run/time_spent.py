"""``time.json``: what the time of a run was spent on, over all processes that it has had, one after another."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Annotated, Final, Literal, get_args

from classifier_training.run.folder import RunFolder
from classifier_training.run.processes import is_main_process
from classifier_training.run.records import FORMAT, DamagedFileError, Format, Limits, Share, read_record, write_record
from classifier_training.warn import warn_instead_of_raise

Part = Literal["start", "lr_range", "probe", "teacher", "training", "choice", "scoring", "figures", "export"]
PARTS: Final[tuple[str, ...]] = get_args(Part)
Seconds = Annotated[float, Limits(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstForecast:
    """The forecast of the best validation top-1 before the first epoch.

    Attributes:
        value: Its middle.
        low: Lower end of its interval.
        high: Upper end of its interval.
    """

    value: Share
    low: Share
    high: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpent:
    """What was spent.

    Attributes:
        seconds: By part, see `PARTS`; a process that was killed has not recorded what it was in.
        forecast: What was forecast before the first epoch; None: nothing was known, or there is no time limit.
    """

    seconds: dict[str, Seconds] = field(default_factory=dict)
    forecast: FirstForecast | None = None
    format: Format = FORMAT


@contextlib.contextmanager
def time_spent_on(run: RunFolder, part: Part) -> Iterator[None]:
    """Adds the time that a block takes to that part, also where it raises; only the first process does."""
    started = time.monotonic()
    try:
        yield
    finally:
        add_time(run, part, time.monotonic() - started)


def add_time(run: RunFolder, part: Part, seconds: float) -> None:
    """Adds seconds to that part; only the first process does."""
    before = _read(run)
    total = round(before.seconds.get(part, 0.0) + seconds, 3)
    _write(run, replace(before, seconds={**before.seconds, part: total}))


def keep_first_forecast(run: RunFolder, value: float, low: float, high: float) -> None:
    """Keeps the forecast that was made before the first epoch."""
    _write(run, replace(_read(run), forecast=FirstForecast(value=value, low=low, high=high)))


def _read(run: RunFolder) -> TimeSpent:
    try:
        return read_record(run.time, TimeSpent)
    except (OSError, DamagedFileError):  # it tells of the run, and nothing depends on it
        return TimeSpent()


def _write(run: RunFolder, record: TimeSpent) -> None:
    if is_main_process():
        with warn_instead_of_raise(run.time.name):
            write_record(run.time, record, durable=False)
