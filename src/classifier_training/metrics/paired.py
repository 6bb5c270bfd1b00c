"""Which of two models is better on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Two models on the same images.

    Attributes:
        num_images: Number of images.
        num_only_first: Images that only the first model predicted correctly.
        num_only_second: Images that only the second model predicted correctly.
        p_value: Probability of a difference at least as large if both were equally good; two-sided, exact.
    """

    num_images: int
    num_only_first: int
    num_only_second: int
    p_value: float


def compare_paired(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedComparison:
    """McNemar's exact test: of the images that only one model predicts correctly, half are expected for each.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947).

    Args:
        first: bool (N,), whether the first model is correct.
        second: bool (N,), whether the second model is correct, on the same images.

    Raises:
        ValueError: The lengths differ.
    """
    from scipy.stats import binomtest

    if first.shape != second.shape:
        raise ValueError(f"both must be of the same images; got {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    num_different = only_first + only_second
    p_value = float(binomtest(only_first, num_different, 0.5).pvalue) if num_different else 1.0
    return PairedComparison(len(first), only_first, only_second, p_value)
