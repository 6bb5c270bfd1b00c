"""Weighted random sampling as ``torch.multinomial`` does it, faster, and for any number of samples."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from classifier_training.errors import ConfigError

_POSITION_BITS = 21
_SAMPLES_AT_ONCE = 1 << _POSITION_BITS


def check_weights(weights: NDArray[np.float64], num_distinct: int | None) -> None:
    """Checks that N weights can be sampled by.

    Raises:
        ConfigError: They cannot, or not for ``num_distinct`` different samples; None: any may come again.
    """
    is_wrong = ~((weights >= 0) & (weights < np.inf))
    if is_wrong.any():
        first = int(is_wrong.argmax())
        raise ConfigError(f"weights[{first}]={weights[first]} of the sampler; a weight must be a finite number ≥ 0")
    num_positive = int(np.count_nonzero(weights))
    if num_positive == 0:
        raise ConfigError(f"all {len(weights)} weights of the sampler are 0; at least one must be above 0")
    with np.errstate(over="ignore"):
        if not np.isfinite(weights.sum()):
            raise ConfigError("the weights of the sampler add up to infinity; divide all of them by the largest one")
    if num_distinct is not None and num_distinct > num_positive:
        raise ConfigError(
            f"num_samples={num_distinct} of the sampler without replacement, but only {num_positive} of"
            f" {len(weights)} weights are above 0; sample {num_positive} or fewer, or with replacement"
        )


def sample_with_replacement(
    weights: NDArray[np.float64], num_samples: int, generator: torch.Generator
) -> NDArray[np.int64]:
    """Samples by inversion: the first index whose cumulative weight reaches a uniform random number.

    Args:
        weights: float64 (N,), valid.
        num_samples: Number of samples.
        generator: Source of the uniform numbers.

    Returns:
        int64 (num_samples,).
    """
    cumulative = np.cumsum(weights)
    cumulative /= cumulative[-1]
    indices = np.empty(num_samples, np.int64)
    for start in range(0, num_samples, _SAMPLES_AT_ONCE):
        part = indices[start : start + _SAMPLES_AT_ONCE]
        uniform = torch.rand(len(part), dtype=torch.float64, generator=generator).numpy()
        # in ascending order they go through the cumulative weights once; in any other, every look-up misses the cache
        order = _nearly_ascending(uniform)
        part[order] = np.searchsorted(cumulative, uniform[order])
    # a uniform number of exactly 0 finds index 0, even if its weight is 0
    return np.maximum(indices, (weights > 0).argmax(), out=indices)


def sample_without_replacement(
    weights: NDArray[np.float64], num_samples: int, generator: torch.Generator
) -> NDArray[np.int64]:
    """Samples by an exponential race: index i arrives at time Exp(1) / w_i, and those that arrive first are taken.

    Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir".

    Args:
        weights: float64 (N,), valid, at least ``num_samples`` of them above 0.
        num_samples: Number of samples.
        generator: Source of the exponential numbers.

    Returns:
        int64 (num_samples,), in the order of arrival; of equal arrivals the lower index comes first.
    """
    times = torch.empty(len(weights), dtype=torch.float64).exponential_(generator=generator).numpy()
    with np.errstate(all="ignore"):
        # as torch rounds it: −(w / Exp(1)) orders like Exp(1) / w
        np.negative(np.divide(weights, times, out=times), out=times)
    times[weights == 0] = np.inf
    if num_samples == len(weights):
        return _stable_argsort(times)
    last = np.partition(times, num_samples - 1)[num_samples - 1]
    arrived = np.flatnonzero(times <= last)
    return arrived[_stable_argsort(times[arrived])[:num_samples]]


def _nearly_ascending(uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """An order of at most 2²¹ numbers in [0, 1) by their first 43 bits; numbers sort faster than their positions do."""
    first_bits = (uniform * 2.0 ** (64 - _POSITION_BITS)).astype(np.uint64) << np.uint64(_POSITION_BITS)
    positions = np.arange(len(uniform), dtype=np.uint64)
    first_bits |= positions
    first_bits.sort()
    first_bits &= np.uint64(_SAMPLES_AT_ONCE - 1)
    return first_bits.view(np.int64)


def _stable_argsort(keys: NDArray[np.float64]) -> NDArray[np.int64]:
    """As numpy's stable sort, in a third of its time: ties are rare among random keys, and put in order afterwards."""
    order = np.argsort(keys)
    keys = keys[order]
    is_like_next = keys[1:] == keys[:-1]
    if is_like_next.any():
        is_tied = np.append(is_like_next, False) | np.append(False, is_like_next)
        tied = order[is_tied]
        order[is_tied] = tied[np.lexsort((tied, keys[is_tied]))]
    return order
