"""The time that a training may take: what is spent, what is kept for its end, how far it is by the clock."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

MIN_SHARE_OF_EPOCH: Final = 0.25
"""A last epoch shorter than this is not begun: its validation costs more than it brings."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What the parts of a training cost: estimated before it starts, measured while it runs.

    Attributes:
        step: Seconds of a batch.
        num_batches: Batches of an epoch.
        validation: Seconds of a validation, and of what else is done at the end of an epoch.
        start: Seconds from the plan to the first batch.
        final_passes: Passes over images after the training, as a number of validations.
        final_seconds: What comes after the training besides: export, its check, figures and report.
        probe: Seconds of the features and the fit of a linear probe in place of a training.
    """

    step: float = 0.0
    num_batches: int = 1
    validation: float = 0.0
    start: float = 0.0
    final_passes: float = 2.0
    final_seconds: float = 0.0
    probe: float = 0.0

    @property
    def epoch(self) -> float:
        """Seconds of an epoch, validation included."""
        return self.step * self.num_batches + self.validation

    @property
    def reserve(self) -> float:
        """Seconds that are kept for what comes after the last validation."""
        return self.final_seconds + self.final_passes * self.validation

    @property
    def least(self) -> float:
        """Seconds, from the plan on, of a training of one epoch and its end."""
        return self.start + self.epoch + self.reserve

    @property
    def least_of_probe(self) -> float:
        """The same of a probe, which is scored twice and chosen from nothing."""
        return self.probe + self.validation * min(3.0, 1.0 + self.final_passes) + self.final_seconds


class TimeBudget:
    """Divides the time of a training, by a clock that never jumps; time asleep counts where the system's clock says so.

    Args:
        limit: Seconds that all processes of a run may take together, one after another.
        started: When this one began, by ``now``.
        now: The clock, seconds.
        costs: What is known of the costs.

    Attributes:
        probe: Validation accuracy of a linear classifier on the features that the training starts from; None: not
            known.
    """

    def __init__(
        self,
        limit: float,
        started: float,
        now: Callable[[], float] = time.monotonic,
        costs: Costs | None = None,
    ) -> None:
        self.limit = limit
        self.costs = costs or Costs()
        self.is_over = False
        self.probe: float | None = None
        self._process = uuid.uuid4().hex  # tells this process from those that it resumes
        self._started, self._now = started, now
        self._before = 0.0  # of the processes before this one
        self._began, self._base = 0.0, 0.0  # when the curve of the progress begins, and how far the training was then
        self._progress = 0.0
        self._aim: float | None = None

    @property
    def spent(self) -> float:
        """Seconds of this process and of those that it resumes."""
        return self._before + self._now() - self._started

    @property
    def left(self) -> float:
        """Seconds to the limit."""
        return self.limit - self.spent

    @property
    def left_for_training(self) -> float:
        """Seconds in which batches may still be trained on: a validation and the end of the run follow."""
        return self.left - self.costs.reserve - self.costs.validation

    def has_time_for(self, num_batches: float) -> bool:
        """Whether so many batches still fit, with a validation and the end of the run after them."""
        return self.left_for_training >= num_batches * self.costs.step

    @property
    def epochs_left(self) -> float:
        """Epochs, each with its validation, that still fit."""
        return max(0.0, (self.left - self.costs.reserve) / max(self.costs.epoch, 1e-9))

    @property
    def expected_epochs(self) -> int:
        """Epochs that will follow, at least one: the last of them may be a part."""
        left = self.epochs_left
        return max(1, math.floor(left) + (left % 1 >= MIN_SHARE_OF_EPOCH))

    @property
    def has_time_for_epoch(self) -> bool:
        """Whether enough is left to begin another epoch."""
        return self.has_time_for(max(1, MIN_SHARE_OF_EPOCH * self.costs.num_batches))

    def begin(self, progress: float = 0.0) -> None:
        """Starts the progress at what is done already."""
        self._began, self._base, self._progress = self.spent, progress, progress

    def aim(self) -> None:
        """At the start of an epoch: lets the progress end with the last whole epoch, if less than a part would follow.

        So the schedule comes to its end in the epoch that will be the last one.
        """
        whole = int(self.epochs_left)
        is_near = whole >= 1 and self.epochs_left - whole < MIN_SHARE_OF_EPOCH
        self._aim = self.spent + whole * self.costs.epoch - self.costs.validation if is_near else None

    @property
    def progress_per_second(self) -> float:
        """By how much `progress` rises in a second."""
        return (1.0 - self._base) / max(self._end - self._began, 1e-9)

    def progress(self) -> float:
        """Share of the time for training that is spent, in [0, 1]; it never falls."""
        now = self._base + self.progress_per_second * (self.spent - self._began)
        self._progress = max(self._progress, min(1.0, now))
        return self._progress

    @property
    def _end(self) -> float:
        """When the last batch is to be done."""
        return self.limit - self.costs.reserve - self.costs.validation if self._aim is None else self._aim

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, plain values."""
        own: dict[str, Any] = {
            "limit": self.limit,
            "spent": self.spent,
            "is_over": self.is_over,
            "progress": self._progress,
        }
        own |= {"began": self._began, "base": self._base, "probe": self.probe, "process": self._process}
        return {**own, "costs": asdict(self.costs)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave: the time counts on, and the progress does under another limit too."""
        if state["process"] != self._process:  # as it is where a training starts over with smaller batches
            self._before += float(state["spent"])
        self._progress = float(state["progress"])
        self.probe = state.get("probe")
        known = {field.name for field in fields(Costs)}
        self.costs = Costs(**{name: value for name, value in state["costs"].items() if name in known})
        if state["limit"] == self.limit:
            self._began, self._base = float(state["began"]), float(state["base"])
        else:
            self.begin(self._progress)


def has_run_out(state: Mapping[str, Any], limit: float | None) -> bool:
    """Whether no time is left to train in a run whose checkpoint holds this state, by the limit that it has now."""
    if limit is None or not state:
        return False
    if state["limit"] == limit and state["is_over"]:
        return True
    budget = TimeBudget(limit, 0.0, now=lambda: 0.0)
    budget.restore(state)
    return not budget.has_time_for_epoch
