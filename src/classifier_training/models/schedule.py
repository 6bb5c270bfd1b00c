"""Learning rate schedules: curves over the progress of a training, and how they go on when it is resumed."""

from __future__ import annotations

import math
from typing import Any, cast

import lightning
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from classifier_training.config.schema import SchedulerConfig

ONE_CYCLE_START = 1 / 25
"""Where ``one_cycle`` begins, as a share of the peak (Smith & Topin 2018, "Super-convergence", as fastai has it)."""
_IMPROVEMENT = 1e-4  # relative, of val/loss, as in torch's ReduceLROnPlateau


def lr_factor(config: SchedulerConfig, progress: float) -> float:
    """Factor on the peak learning rate after the warm-up; 1 throughout for ``plateau``, which no curve describes.

    Args:
        config: Name and numbers of the curve.
        progress: Share of the training after the warm-up that is done, in [0, 1].
    """
    low = config.min_lr_ratio
    if config.name == "cosine":
        return _half_cosine(1.0, low, progress)
    if config.name == "linear":
        return low + (1.0 - low) * (1.0 - progress)
    if config.name == "poly":  # Chen et al. 2017, "DeepLab"
        return low + (1.0 - low) * math.pow(1.0 - progress, config.power)
    if config.name == "step":
        return float(max(low, config.gamma ** sum(progress >= milestone for milestone in config.milestones)))
    if config.name == "cosine_restarts":  # Loshchilov & Hutter 2017, "SGDR"
        return _half_cosine(1.0, low, _progress_of_cycle(progress, config.num_cycles, config.cycle_growth))
    if config.name == "one_cycle":
        if progress < config.rise:
            return _half_cosine(ONE_CYCLE_START, 1.0, progress / config.rise)
        return _half_cosine(1.0, low, (progress - config.rise) / (1.0 - config.rise))
    return 1.0


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


def _progress_of_cycle(progress: float, num_cycles: int, growth: float) -> float:
    """Progress within the present one of cycles, each ``growth`` times as long as the one before it."""
    lengths = [growth**number for number in range(num_cycles)]
    left = progress * sum(lengths)
    for length in lengths[:-1]:
        if left < length:
            return left / length
        left -= length
    return min(1.0, left / lengths[-1])


class Schedule:
    """The factor on the peak learning rate at each optimizer step: linear warm-up, then the curve of `lr_factor`.

    A checkpoint keeps its attributes, which are plain values. A training that resumes with another number of steps
    continues its curve: from the factor of the step where it resumes, a cosine falls to the end; what is left of any
    other curve is stretched over the steps that are left.

    Attributes:
        config: Name and numbers of the curve.
        total_steps: Optimizer steps of the whole training.
        max_epochs: Its epochs.
        warmup_steps: Optimizer steps of the warm-up, in which the factor is (step + 1) / (warmup_steps + 1).
        start_step: Where the number of steps was changed; 0: nowhere.
        start_factor: The factor there.
        start_position: The position on the curve there, in [0, 1].
        plateau_factor: Of ``plateau``: the factor at present.
        plateau_best: Its lowest validation loss; None: none yet.
        plateau_epochs: Epochs since then.
        clock: Of a training that follows the clock: a step, where the schedule was there, and by how much it moves in
            a step; None: it moves by one.
    """

    def __init__(self, config: SchedulerConfig, *, total_steps: int, max_epochs: float, warmup_steps: int) -> None:
        self.config: dict[str, Any] = config.model_dump(mode="json")
        self.total_steps = total_steps
        self.max_epochs = max_epochs
        self.warmup_steps = warmup_steps
        self.start_step = 0
        self.start_factor = 1.0
        self.start_position = 0.0
        self.plateau_factor = 1.0
        self.plateau_best: float | None = None
        self.plateau_epochs = 0
        self.clock: list[float] | None = None

    def follow_clock(self, step: int, place: float, rate: float) -> None:
        """Lets the schedule follow the clock: how far it is depends on the time, and not on the number of steps.

        Args:
            step: Optimizer steps done.
            place: Where the schedule is there, in its own steps, of which it has ``total_steps``.
            rate: By how much it moves in a step, until the next call.
        """
        self.clock = [step, place, rate]

    def place(self, step: int) -> float:
        """Where the schedule is at a step, in its own steps, by which it does not move where it follows the clock."""
        if self.clock is None:
            return step
        at, place, rate = self.clock
        return min(float(self.total_steps), place + rate * (step - at))

    def progress(self, step: int) -> float:
        """Share of the training that is done at a step, in [0, 1], since the warm-up or since ``start_step``.

        The curve depends on the step through this number alone.
        """
        begin = self.start_step or self.warmup_steps
        return min(1.0, (self.place(step) - begin) / max(1, self.total_steps - begin))

    def position(self, step: int) -> float:
        """Position on the curve at a step after the warm-up, in [0, 1]: its progress, unless it was stretched."""
        return self.start_position + (1.0 - self.start_position) * self.progress(step)

    def __call__(self, step: int) -> float:
        """The factor at a step."""
        place = self.place(step)
        is_changed = bool(self.start_step) and place >= self.start_step
        if place < self.warmup_steps and not is_changed:
            return (place + 1) / (self.warmup_steps + 1)
        config = SchedulerConfig.model_construct(**self.config)
        if config.name == "plateau":
            return max(config.min_lr_ratio, self.plateau_factor)
        if is_changed and config.name == "constant":
            return self.start_factor
        if is_changed and config.name == "cosine":
            return _half_cosine(self.start_factor, min(config.min_lr_ratio, self.start_factor), self.progress(step))
        return lr_factor(config, self.position(step))

    def continue_from(self, step: int, factor: float, position: float) -> None:
        """Lets the curve go on from a step; in the warm-up it does so by itself."""
        if step > self.warmup_steps:
            self.start_step, self.start_factor, self.start_position = step, factor, position

    def note_validation(self, step: int, loss: float) -> None:
        """Lowers the factor of a ``plateau`` where the validation loss has not fallen for long enough.

        Args:
            step: Optimizer steps done; epochs of the warm-up do not count.
            loss: Of the validation.
        """
        if self.place(step) < self.warmup_steps:
            return
        if self.plateau_best is None or loss < self.plateau_best - abs(self.plateau_best) * _IMPROVEMENT:
            self.plateau_best, self.plateau_epochs = loss, 0
            return
        self.plateau_epochs += 1
        if self.plateau_epochs >= self.config["plateau_patience"]:
            self.plateau_factor *= self.config["gamma"]
            self.plateau_epochs = 0


class ResumableLR(LambdaLR):
    """A schedule whose curve goes on without a jump where a training resumes with another number of steps."""

    def __init__(self, optimizer: Optimizer, schedule: Schedule) -> None:
        super().__init__(optimizer, schedule)
        self._clocked: dict[str, Any] = {}

    @property
    def schedule(self) -> Schedule:
        """The one schedule of all parameter groups."""
        return cast("Schedule", self.lr_lambdas[0])

    def get_lr(self) -> list[float | Tensor]:
        """Learning rates of the groups; the factor, which all share, is computed once."""
        factor = self.schedule(self.last_epoch)
        return [base * factor for base in self.base_lrs]

    def note_validation(self, loss: float) -> None:
        """Gives the schedule the validation loss, and the optimizer the learning rates that follow from it."""
        self.schedule.note_validation(self.last_epoch, loss)
        self._last_lr = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
            group["lr"] = rate

    def follow_clock_again(self) -> None:
        """Takes up a schedule that had followed the clock where the training resumes, which follows it as well."""
        vars(self.schedule).update(self._clocked)

    def state_dict(self) -> dict[str, Any]:
        """The step, and the schedule."""
        return {key: value for key, value in super().state_dict().items() if key != "_clocked"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the step, the warm-up and the past of the curve; its other settings are those it was built with."""
        schedule = self.schedule
        present = vars(schedule).copy()
        super().load_state_dict(state_dict)
        past = vars(schedule).copy()
        saved, step = state_dict["lr_lambdas"][0], self.last_epoch
        # before there were schedules with attributes, a checkpoint held the rates alone
        factor = schedule(step) if saved else float(self._last_lr[0]) / float(self.base_lrs[0])
        position = schedule.position(step)
        kept = {name: past[name] for name in _PAST} if saved else {}
        vars(schedule).clear()
        vars(schedule).update({**present, **kept})
        schedule.warmup_steps = min(schedule.warmup_steps, schedule.total_steps - 1)
        has_changed = saved["total_steps"] != schedule.total_steps if saved else not _are_close(factor, schedule(step))
        self._clocked = {name: past[name] for name in (*_PAST, "clock")} if past.get("clock") else {}
        if has_changed or self._clocked:
            schedule.continue_from(step, factor, position)


_PAST = (
    "warmup_steps",
    "start_step",
    "start_factor",
    "start_position",
    "plateau_factor",
    "plateau_best",
    "plateau_epochs",
)


def _are_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-12)


def default_warmup_epochs(max_epochs: float, name: str = "cosine") -> float:
    """Length of the warm-up where none is set: an epoch, or half of a training of one epoch; none of ``one_cycle``."""
    return 0.0 if name == "one_cycle" else min(1.0, max_epochs / 2)


def build_scheduler(
    optimizer: Optimizer, config: SchedulerConfig, *, total_steps: int, max_epochs: float
) -> ResumableLR:
    """Builds the schedule; it is stepped once after every optimizer step."""
    warmup = config.warmup_epochs
    if warmup is None:
        warmup = default_warmup_epochs(max_epochs, config.name)
    schedule = Schedule(
        config,
        total_steps=total_steps,
        max_epochs=max_epochs,
        warmup_steps=min(total_steps - 1, round(warmup * total_steps / max_epochs)),
    )
    return ResumableLR(optimizer, schedule)


def note_validation(trainer: lightning.Trainer, loss: Tensor) -> None:
    """Lets the schedules of a training that wait for a plateau know the validation loss, the same on all ranks."""
    if trainer.state.fn != "fit" or trainer.sanity_checking:
        return
    for config in trainer.lr_scheduler_configs:
        if isinstance(config.scheduler, ResumableLR) and config.scheduler.schedule.config["name"] == "plateau":
            config.scheduler.note_validation(loss.item())
