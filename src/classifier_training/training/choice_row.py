"""The row of the plan that says which weights a training will end with."""

from __future__ import annotations

from classifier_training.config.schema import Config


def describe_choice(config: Config) -> dict[str, str]:
    """The candidates for the final weights; no row where the best epoch is the only one."""
    if not config.checkpoint.choose_final:
        return {}
    probe = "the probe, its averages with the best epoch, " if config.recipe.start_from_probe else ""
    number = config.checkpoint.num_best_epochs
    return {
        "final weights": f"the lowest val/loss in float32 of {probe}the {number} best epochs and their greedy average"
    }
