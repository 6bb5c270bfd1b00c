"""Which epoch of a training is the best: the one rule behind ``best.ckpt``, the figures and the pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

Mode = Literal["min", "max"]
"""Whether a higher or a lower value of the monitored metric is better."""


class EpochScore(NamedTuple):
    """What decides about an epoch.

    Attributes:
        score: The monitored metric.
        loss: ``val/loss``; None where it was not logged.
    """

    score: float
    loss: float | None = None


def is_better(epoch: EpochScore, best: EpochScore | None, mode: Mode) -> bool:
    """Whether an epoch is better than the best one before it; None: there is none.

    Of epochs with the same monitored metric, common where validation images are few, the one with the lowest
    ``val/loss`` is the best; without that metric it is the earliest. An epoch whose metric is not a finite number is
    never better, and any other is better than such a one.
    """
    if not math.isfinite(epoch.score):
        return False
    if best is None or not math.isfinite(best.score):
        return True
    if epoch.score == best.score:
        return epoch.loss is not None and (best.loss is None or epoch.loss < best.loss)
    return epoch.score > best.score if mode == "max" else epoch.score < best.score


def find_best(scores: Sequence[float | None], losses: Sequence[float | None], mode: Mode) -> int | None:
    """The position of the best epoch, by the score and ``val/loss`` of each; None where no epoch has a score.

    A score or a loss that is missing is None or NaN.
    """
    position, best = None, None
    for number, (score, loss) in enumerate(zip(scores, losses, strict=True)):
        if score is None:
            continue
        epoch = EpochScore(score, None if loss is None or math.isnan(loss) else loss)
        if is_better(epoch, best, mode):
            position, best = number, epoch
    return position
