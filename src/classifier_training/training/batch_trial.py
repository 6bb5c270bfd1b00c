"""What batches of several sizes need, by a few steps of a training: seconds on a CPU, memory on a GPU."""

from __future__ import annotations

import functools
import gc
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import psutil
import torch

from classifier_training.config.schema import OptimizerConfig
from classifier_training.data.cache.locations import available_memory
from classifier_training.data.loading.sizes import TrainingSizes
from classifier_training.errors import is_out_of_memory
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.freed_memory import keep_freed_memory
from classifier_training.training.plain_steps import PlainSteps
from classifier_training.training.plan import Plan
from classifier_training.types import ClassificationBatch

T = TypeVar("T")
FEWEST: Final = 8
"""Images of the smallest batch that is tried: those of BatchNorm's statistics should not be fewer."""
MOST_TIMED: Final = 128
"""A CPU is not faster with more."""
ENOUGH: Final = 0.95
"""The share of the best throughput with which a smaller batch is preferred: it makes more steps of an epoch."""
HEADROOM: Final = 0.1
"""The share of the free memory that is left to what a few steps do not show."""
NUM_STEPS: Final = 3


class BatchTrial:
    """Steps on random images of the largest size of a training, with its optimizer, precision and copies of weights.

    Args:
        plan: What is to be trained.
        model: Its model, which is used up.
        device: Where it is to be trained.
    """

    def __init__(self, plan: Plan, model: BaseClassificationModel, device: torch.device) -> None:
        config = plan.config
        if device.type == "cpu":
            keep_freed_memory()  # as the training will
        numeric = {"lr": OptimizerConfig().peak_lr} if config.optimizer.lr == "find" else {}
        if config.model.grad_checkpointing:
            backbone: Any = model.backbone
            backbone.set_grad_checkpointing(True)
        self._steps = PlainSteps(plan, model, device, config.optimizer.model_copy(update=numeric))
        self._side = max(TrainingSizes.of(config.data, plan.preprocessing, config.trainer.num_epochs).distinct())
        num_copies = int(config.ema.enabled) + int(config.optimizer.sam_rho is not None)
        self._copies = [weight.detach().clone() for weight in model.parameters() for _ in range(num_copies)]

    def step(self, size: int) -> None:
        """One step with batches of ``size`` images."""
        device, side = self._steps.device, self._side
        batch = ClassificationBatch(
            images=torch.randn(size, 3, side, side, device=device),
            labels=torch.arange(size, device=device) % self._steps.model.num_classes,
            indices=torch.arange(size),
        )
        self._steps.step(itertools.repeat(batch))

    def seconds_of(self, size: int) -> float:
        """How long a step takes, the first one aside, in which much is made for all that follow."""
        taken: list[float] = []
        for _ in range(1 + NUM_STEPS):
            started = time.monotonic()
            self.step(size)
            taken.append(time.monotonic() - started)
        return min(taken[1:])

    def fits(self, size: int) -> bool:
        """Whether two steps leave `HEADROOM` of the memory of a CUDA device."""
        device = self._steps.device
        free_memory()
        torch.cuda.reset_peak_memory_stats(device)
        limit = (torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)) * (1 - HEADROOM)

        def steps() -> bool:
            self.step(size)
            self.step(size)
            return True

        return _within_memory(steps) is True and torch.cuda.max_memory_allocated(device) <= limit


def free_memory() -> None:
    """Gives back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def throughput_by_size(
    seconds_of: Callable[[int], float], most: int, seconds: float, progress: Callable[[int, int], None]
) -> dict[int, float]:
    """Images per second of batches of `FEWEST` images, twice as many, and so on.

    It ends where twice as many bring nothing, memory might run out, or the time would be over.

    Args:
        seconds_of: How long a step with so many images takes; it may raise where memory runs out.
        most: Images of the largest batch.
        seconds: How long it may all take.
        progress: Called with the number of sizes that were tried, and of all.
    """
    sizes = [FEWEST << number for number in range(8) if FEWEST << number <= most]
    rates: dict[int, float] = {}
    started = time.monotonic()
    for number, size in enumerate(sizes, 1):
        began, before = time.monotonic(), psutil.Process().memory_info().rss
        taken = _within_memory(functools.partial(seconds_of, size))
        if taken is None:
            break
        rate, best = size / taken, max(rates.values(), default=0.0)
        rates[size] = rate
        progress(number, len(sizes))
        now, grown = time.monotonic(), psutil.Process().memory_info().rss - before
        is_too_long = now - started + 2 * (now - began) > seconds
        if rate <= best or is_too_long or 2 * grown > available_memory():
            break
    return rates


def fewest_that_are_fast(rates: Mapping[int, float]) -> int:
    """The smallest size with `ENOUGH` of the best throughput."""
    return min(size for size, rate in rates.items() if rate >= ENOUGH * max(rates.values()))


def most_that_fit(fits: Callable[[int], bool], most: int, seconds: float) -> int:
    """The largest size up to ``most`` that fits, within an eighth; a multiple of `FEWEST`, which is the least.

    Args:
        fits: Whether a size does.
        most: The largest that is wanted.
        seconds: After how long the best so far is taken.
    """
    until = time.monotonic() + seconds
    most -= most % FEWEST
    fitting, too_large = FEWEST, most + FEWEST
    while time.monotonic() < until:
        step = FEWEST * max(1, fitting // (8 * FEWEST))
        if too_large - fitting <= step:
            break
        is_bounded = too_large <= 2 * fitting
        middle = fitting + step * max(1, (too_large - fitting) // (2 * step))
        size = min(middle, most) if is_bounded else min(2 * fitting, most)
        if fits(size):
            fitting = size
        else:
            too_large = size
    return fitting


def _within_memory(compute: Callable[[], T]) -> T | None:
    """What something gives; None: memory runs out."""
    try:
        return compute()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    return None
