"""The time limit of a training: the schedule follows the clock, and the last epoch ends in time."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any, Final

import lightning

from classifier_training.models.schedule import ResumableLR
from classifier_training.run.agreement import Agreement, agree_with_all, shared_store
from classifier_training.run.announcements import Announcements
from classifier_training.run.time_budget import TimeBudget

SECONDS_BETWEEN_ANNOUNCEMENTS: Final = 1.0
"""How often the first process of several lets the others know how far the training is by its clock."""
MIN_STEPS_BETWEEN_ANNOUNCEMENTS: Final = 8
"""More steps than one process can be ahead of another one, whose gradients it needs for each."""
BATCHES_OF_PACE: Final = 5
"""Last batches, whose median tells how fast the machine is at present."""


class TimeLimit(lightning.Callback):
    """Ends a training in time, after a validation, and lets its learning rate follow the clock.

    The epoch in which the time is up ends after the present batch, and is validated like any other: such a training is
    a finished one. A checkpoint keeps the seconds that were spent, and the training that resumes from it counts on.

    With several processes the clock is that of the first one. It announces ahead how the progress goes on, so that all
    use the same learning rate, and all end the epoch at the same batch, the first one that none of them has begun; no
    step waits for the other processes.

    Args:
        budget: The time.
        is_only_end: Whether the time alone ends the training, and not the Trainer's number of epochs before it.
        now: The clock, seconds.
    """

    def __init__(
        self, budget: TimeBudget, *, is_only_end: bool = False, now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.budget = budget
        self.is_only_end = is_only_end
        self._max_epochs: int | None = None
        self._now = now
        self._agreement: Agreement | None = None
        self._announcements: Announcements | None = None
        self._next_step = 0  # at which an announcement is read
        self._is_restored = False
        self._started = self._validating = self._ended = 0.0  # the epoch, its validation, and its end
        self._num_batches = 0
        self._is_first = True  # epoch of this process, which waits for its first batch
        self._starts: deque[float] = deque(maxlen=1 + BATCHES_OF_PACE)  # of the last batches

    def state_dict(self) -> dict[str, Any]:
        """What is spent, and what was measured."""
        return self.budget.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.budget.restore(state_dict)
        self._is_restored = True

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the progress, unless it goes on."""
        self.budget.is_over = False
        self._max_epochs = None if self.is_only_end else trainer.max_epochs
        self._agreement = agree_with_all("time")
        shared = shared_store("progress")
        self._announcements = None if shared is None else Announcements(*shared)
        self._next_step = trainer.global_step
        if math.isfinite(trainer.num_training_batches):
            self.budget.costs = replace(self.budget.costs, num_batches=int(trainer.num_training_batches))
        scheduler = _scheduler(trainer)
        if scheduler is not None:
            scheduler.follow_clock_again()
        if not self._is_restored:  # the limit may have come with the resume
            total = trainer.estimated_stepping_batches if scheduler is None else scheduler.schedule.total_steps
            self.budget.begin(min(1.0, trainer.global_step / max(1, total)))
        if self._announcements is not None and trainer.is_global_zero:
            self._announcements.announce(self._next_step, self._place(trainer, 0))
        self.budget.epoch = trainer.current_epoch
        self._plan_epochs(trainer, trainer.current_epoch)
        self._started = self._now()
        self._ended = 0.0
        self._num_batches = 0
        self._is_first = True

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Looks at the clock."""
        self._started = self._now()
        self._num_batches = 0
        self._starts.clear()
        if self._ended:  # what others do at the end of an epoch is part of what it costs
            costs = self.budget.costs
            self.budget.costs = replace(costs, validation=costs.validation + self._started - self._ended)
            self.budget.aim()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Moves the schedule, and makes this batch the last one of the training where the time is up."""
        self._note_batch()
        is_last = trainer.is_last_batch
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not is_last:
            return
        self._follow_clock(trainer)
        if not is_last and self._is_time_up(trainer):
            _end_epoch_with(trainer, batch_idx)
            self.budget.is_over = True

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The batches of the epoch are done."""
        self._validating = self._now()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Measures the epoch, and decides whether another one is begun."""
        self._ended = self._now()
        if self._num_batches:
            step = (self._validating - self._started) / self._num_batches
            self.budget.note_epoch(step, self._ended - self._validating)
        self._is_first, self.budget.epoch = False, trainer.current_epoch + 1
        self.budget.is_over = self.budget.is_over or not self.budget.has_time_for_epoch
        self._plan_epochs(trainer, trainer.current_epoch + 1)
        if self.budget.is_over:
            trainer.should_stop = True

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Ends the agreement of the ranks."""
        self._end_agreement()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Ends the agreement of the ranks."""
        self._end_agreement()

    def _note_batch(self) -> None:
        """Looks how fast the last batches were: where the machine has become slower, an epoch may be too long."""
        now = self._now()
        if self._is_first and not self._num_batches:
            self._started = now
        self._starts.append(now)
        if len(self._starts) > BATCHES_OF_PACE:
            self.budget.note_pace(median(later - earlier for earlier, later in pairwise(self._starts)))
        self._num_batches += 1

    def _plan_epochs(self, trainer: lightning.Trainer, num_done: int) -> None:
        """Lets all know how many epochs the training is going to have; what depends on that follows the clock, too."""
        expected = num_done + self.budget.expected_epochs
        self.budget.is_over, expected = trainer.strategy.broadcast((self.budget.is_over, expected))
        trainer.fit_loop.max_epochs = expected if self._max_epochs is None else min(expected, self._max_epochs)

    def _follow_clock(self, trainer: lightning.Trainer) -> None:
        """Gives the schedule its place at the step that begins; the same on every rank."""
        step, scheduler = trainer.global_step, _scheduler(trainer)
        if scheduler is None:
            return
        if self._announcements is None:
            place, rate, _ = self._place(trainer, 0)
            scheduler.schedule.follow_clock(scheduler.last_epoch, place, rate)
        elif step >= self._next_step:
            place, rate, num_steps = self._announcements.read(self._next_step)
            scheduler.schedule.follow_clock(scheduler.last_epoch, place, rate)
            self._next_step += int(num_steps)
            if trainer.is_global_zero:
                self._announcements.announce(self._next_step, self._place(trainer, int(num_steps)))

    def _place(self, trainer: lightning.Trainer, num_steps: int) -> list[float]:
        """Where the schedule is after some steps, by how much it moves in a step, and how long this is to hold."""
        scheduler = _scheduler(trainer)
        seconds = self.budget.costs.step_in(self.budget.epoch) * trainer.accumulate_grad_batches
        total = 1 if scheduler is None else scheduler.schedule.total_steps
        per_second = total * self.budget.progress_per_second
        place = min(total, total * self.budget.progress() + per_second * seconds * num_steps)
        rate = per_second * seconds
        if self._max_epochs is not None and scheduler is not None and scheduler.last_epoch + num_steps >= place:
            place, rate = scheduler.last_epoch + num_steps, 1.0  # the epochs end before the time does
        until_next = max(MIN_STEPS_BETWEEN_ANNOUNCEMENTS, round(SECONDS_BETWEEN_ANNOUNCEMENTS / max(seconds, 1e-6)))
        return [place, rate, float(min(until_next, 1000))]

    def _is_time_up(self, trainer: lightning.Trainer) -> bool:
        """Whether this batch is the last one; on every rank for the same batch."""
        is_up = trainer.is_global_zero and not self.budget.has_time_for(1 + trainer.accumulate_grad_batches)
        if self._agreement is None:
            return is_up
        if is_up:
            self._agreement.request(1)
        return self._agreement.reach() > 0

    def _end_agreement(self) -> None:
        if self._agreement is not None:
            self._agreement.close()
            self._agreement = self._announcements = None


def _scheduler(trainer: lightning.Trainer) -> ResumableLR | None:
    schedulers = [one.scheduler for one in trainer.lr_scheduler_configs]
    return next((one for one in schedulers if isinstance(one, ResumableLR)), None)


def _end_epoch_with(trainer: lightning.Trainer, batch_idx: int) -> None:
    """Makes a batch that has not begun the last one of its epoch, which is validated, and of the training."""
    loop = trainer.fit_loop
    loop.max_batches = batch_idx + 1
    loop.epoch_loop.batch_progress.is_last_batch = True
    trainer.should_stop = True
