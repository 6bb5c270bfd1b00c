"""The time that a training may take: what is spent, what is kept for its end, how far it is by the clock."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

MIN_SHARE_OF_EPOCH: Final = 0.25
"""A last epoch shorter than this is not begun: its validation costs more than it brings."""
MIN_SHARE_OF_LIMIT: Final = 0.05
"""But one that takes this share of the limit is, where the limit is that of few epochs."""
MOST_CHANGE: Final = 3.0
"""A machine is not believed to become so many times slower, or faster, from one epoch to the next."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What the parts of a training cost: estimated before it starts, measured while it runs.

    Attributes:
        step: Seconds of a batch in most epochs.
        num_batches: Batches of an epoch.
        validation: Seconds of a validation, and of what else is done at the end of an epoch.
        start: Seconds from the plan to the first batch.
        final_passes: Passes over images after the training, as a number of validations, where they are not estimated.
        final_scoring: Seconds of the estimated ones. They are not measured by validations, to which figures,
            checkpoints and whatever else an epoch ends with belong.
        final_seconds: What comes after the training besides: export, its check, figures and report.
        probe: Seconds of the features and the fit of a linear probe in place of a training.
        shares: What a batch of the first epochs costs, as shares of ``step``: images that are decoded, a backbone that
            is frozen, smaller images.
    """

    step: float = 0.0
    num_batches: int = 1
    validation: float = 0.0
    start: float = 0.0
    final_passes: float = 2.0
    final_scoring: float = 0.0
    final_seconds: float = 0.0
    probe: float = 0.0
    shares: tuple[float, ...] = ()

    def step_in(self, epoch: int) -> float:
        """Seconds of a batch in an epoch, by its number from 0."""
        return self.step * (self.shares[epoch] if epoch < len(self.shares) else 1.0)

    def epoch_at(self, epoch: int) -> float:
        """Seconds of an epoch by its number, validation included."""
        return self.step_in(epoch) * self.num_batches + self.validation

    @property
    def epoch(self) -> float:
        """Seconds of most epochs, validation included."""
        return self.step * self.num_batches + self.validation

    @property
    def reserve(self) -> float:
        """Seconds that are kept for what comes after the last validation."""
        return self.final_seconds + self.final_scoring + self.final_passes * self.validation

    @property
    def least(self) -> float:
        """Seconds, from the plan on, of a training of one epoch and its end."""
        return self.start + self.epoch_at(0) + self.reserve

    @property
    def least_of_probe(self) -> float:
        """The same of a probe, which is scored twice and chosen from nothing."""
        scoring = min(2.0 * self.validation, self.final_scoring + self.final_passes * self.validation)
        return self.probe + self.validation + scoring + self.final_seconds


class TimeBudget:
    """Divides the time of a training, by a clock that never jumps; time asleep counts where the system's clock says so.

    Args:
        limit: Seconds that all processes of a run may take together, one after another.
        started: When this one began, by ``now``.
        now: The clock, seconds.
        costs: What is known of the costs.

    Attributes:
        epoch: The epoch that is trained, or comes next, from 0.
        pace: How often as long as planned things take at present, at least 1.
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
        self.epoch = 0
        self.pace = 1.0
        self._is_measured = False
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
    def step(self) -> float:
        """Seconds of a batch in the present epoch."""
        return self.pace * self.costs.step_in(self.epoch)

    @property
    def reserve(self) -> float:
        """Seconds that are kept for what comes after the last validation."""
        return self.pace * self.costs.reserve

    @property
    def left_for_training(self) -> float:
        """Seconds in which batches may still be trained on: a validation and the end of the run follow."""
        return self.left - self.reserve - self.pace * self.costs.validation

    def has_time_for(self, num_batches: float) -> bool:
        """Whether so many batches still fit, with a validation and the end of the run after them."""
        return self.left_for_training >= num_batches * self.step

    @property
    def epochs_left(self) -> float:
        """Epochs, each with its validation, that still fit."""
        left, whole = max(0.0, self.left - self.reserve), 0
        while True:
            seconds = max(self.costs.epoch_at(self.epoch + whole), 1e-9)
            if left < seconds or self.epoch + whole >= len(self.costs.shares):  # all that follow cost the same
                return whole + left / seconds
            left, whole = left - seconds, whole + 1

    @property
    def expected_epochs(self) -> int:
        """Epochs that will follow, at least one: the last of them may be a part."""
        return max(1, int(self.epochs_left) + self._has_part)

    @property
    def has_time_for_epoch(self) -> bool:
        """Whether enough is left to begin another epoch."""
        return self._is_worth_it(self.left_for_training, self.epoch)

    @property
    def _has_part(self) -> bool:
        """Whether a part of an epoch will follow the whole ones."""
        whole = int(self.epochs_left)
        rest = self.left - self.reserve - self._seconds_of(whole)
        return self._is_worth_it(rest - self.costs.validation, self.epoch + whole)

    def _is_worth_it(self, seconds: float, epoch: int) -> bool:
        """Whether an epoch is begun of which so many seconds of batches are left."""
        step = self.pace * self.costs.step_in(epoch)
        least = max(MIN_SHARE_OF_LIMIT * self.limit, self.costs.validation)
        return seconds >= max(step, min(MIN_SHARE_OF_EPOCH * self.costs.num_batches * step, least))

    def _seconds_of(self, num_epochs: int) -> float:
        """Of the next epochs."""
        planned = max(0, min(num_epochs, len(self.costs.shares) - self.epoch))
        seconds = sum(self.costs.epoch_at(self.epoch + number) for number in range(planned))
        return seconds + (num_epochs - planned) * self.costs.epoch

    def note_pace(self, seconds: float) -> None:
        """Takes note of what the last batches of the present epoch have taken: all that follows may be as slow."""
        self.pace = max(1.0, seconds / max(self.costs.step_in(self.epoch), 1e-9))

    def note_epoch(self, step: float, validation: float) -> None:
        """Replaces the costs by those of an epoch that is done; if it was slower, so will be the end of the run.

        Args:
            step: Seconds of a batch.
            validation: Seconds of its validation.
        """
        costs, before = self.costs, max(self.costs.step_in(self.epoch), 1e-9)
        ratio = max(step / before, 0.0 if self._is_measured else 1.0)  # an estimate may be too high
        self._is_measured = True
        usual = step * costs.step / before if costs.step else step
        change = min(MOST_CHANGE, max(1 / MOST_CHANGE, ratio))
        seconds, scoring = change * costs.final_seconds, change * costs.final_scoring
        self.costs = replace(costs, step=usual, validation=validation, final_seconds=seconds, final_scoring=scoring)
        self.epoch, self.pace = self.epoch + 1, 1.0

    def begin(self, progress: float = 0.0) -> None:
        """Starts the progress at what is done already."""
        self._began, self._base, self._progress = self.spent, progress, progress

    def aim(self) -> None:
        """At the start of an epoch: lets the progress end with the last whole epoch, if less than a part would follow.

        So the schedule comes to its end in the epoch that will be the last one.
        """
        whole = int(self.epochs_left)
        is_near = whole >= 1 and not self._has_part
        self._aim = self.spent + self._seconds_of(whole) - self.costs.validation if is_near else None

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
        if self._aim is not None:
            return self._aim
        pace = 1.0 if self._is_measured else self.pace  # later epochs are not hurried by a few slow batches
        return self.limit - pace * (self.costs.reserve + self.costs.validation)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, plain values."""
        own: dict[str, Any] = {
            "limit": self.limit,
            "spent": self.spent,
            "is_over": self.is_over,
            "progress": self._progress,
            "epoch": self.epoch,
        }
        own |= {"began": self._began, "base": self._base, "probe": self.probe, "process": self._process}
        return {**own, "costs": {**asdict(self.costs), "shares": list(self.costs.shares)}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave: the time counts on, and the progress does under another limit too."""
        if state["process"] != self._process:  # as it is where a training starts over with smaller batches
            self._before += float(state["spent"])
        self._progress, self.epoch = float(state["progress"]), int(state.get("epoch", 0))
        self.probe = state.get("probe")
        known = {field.name for field in fields(Costs)}
        costs = {name: value for name, value in state["costs"].items() if name in known}
        self.costs = Costs(**{**costs, "shares": tuple(costs.get("shares", ()))})
        if state["limit"] == self.limit:
            self._began, self._base = float(state["began"]), float(state["base"])
        else:
            self.begin(self._progress)


def epochs_within(seconds: float, costs: Costs) -> int:
    """Epochs that fit into a time with the end of the run after them, at least one."""
    return TimeBudget(seconds, 0.0, lambda: 0.0, costs).expected_epochs


def has_run_out(state: Mapping[str, Any], limit: float | None) -> bool:
    """Whether no time is left to train in a run whose checkpoint holds this state, by the limit that it has now."""
    if limit is None or not state:
        return False
    if state["limit"] == limit and state["is_over"]:
        return True
    budget = TimeBudget(limit, 0.0, now=lambda: 0.0)
    budget.restore(state)
    return not budget.has_time_for_epoch
