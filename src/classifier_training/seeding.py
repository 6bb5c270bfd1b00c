"""Seeds as pure functions: every random choice follows from the run's seed and a position in the training."""

from __future__ import annotations

import numpy as np


def mix_seed(*parts: int) -> int:
    """One seed in [0, 2⁶³) from several non-negative integers; neighbouring ones give unrelated seeds."""
    # the length keeps (seed, epoch) apart from (seed, epoch, 0): shorter ones would be padded with zeros
    return int(np.random.SeedSequence((len(parts), *parts)).generate_state(1, np.uint64)[0] >> np.uint64(1))
