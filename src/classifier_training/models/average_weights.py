"""Averages of the weights of several models of one architecture, as plain functions of their state dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def interpolate(first: State, second: State, share: float) -> dict[str, Tensor]:
    """``(1 - share) · first + share · second``; what is not a floating-point number is taken from the second.

    Between a zero-shot or linear-probe model and the model fine-tuned from it this is WiSE-FT (Wortsman et al. 2022,
    "Robust fine-tuning of zero-shot models").
    """
    return {
        key: torch.lerp(first[key], value, share) if value.is_floating_point() else value
        for key, value in second.items()
    }


def mean_of(states: Sequence[State]) -> dict[str, Tensor]:
    """The mean, summed in float64; what is not a floating-point number is taken from the first."""
    mean: dict[str, Tensor] = {}
    for key, value in states[0].items():
        if value.is_floating_point():
            total = value.double()
            for state in states[1:]:
                total = total + state[key].double()
            mean[key] = (total / len(states)).to(value.dtype)
        else:
            mean[key] = value
    return mean


def have_equal_statistics(states: Sequence[State], buffers: Sequence[str]) -> bool:
    """Whether the floating-point buffers, such as BatchNorm's statistics, are the same in all states.

    Statistics belong to the weights that they were measured with: those of different weights cannot be averaged, they
    would have to be measured again.
    """
    floating = [key for key in buffers if key in states[0] and states[0][key].is_floating_point()]
    return all(torch.equal(states[0][key], state[key]) for state in states[1:] for key in floating)


class Soup(NamedTuple):
    """The result of `greedy_soup`.

    Attributes:
        members: The positions of the states in it, in the order in which they were taken.
        loss: Of their mean.
    """

    members: tuple[int, ...]
    loss: float


def greedy_soup(states: Sequence[State], losses: Sequence[float], score: Callable[[State], float]) -> Soup:
    """Greedy soup (Wortsman et al. 2022, "Model soups"): the best state first, then each that lowers the loss.

    Args:
        states: The candidates.
        losses: Of each alone.
        score: The loss of a mean of some.
    """
    order = sorted(range(len(states)), key=lambda position: (losses[position], position))
    members, best = [order[0]], losses[order[0]]
    for position in order[1:]:
        loss = score(mean_of([states[member] for member in (*members, position)]))
        if loss < best:
            members, best = [*members, position], loss
    return Soup(tuple(members), best)
