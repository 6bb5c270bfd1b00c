"""What a plan says of a linear probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from classifier_training.training.plan import Plan


def describe_probe(plan: Plan) -> dict[str, str]:
    """What a plan says of a probe, in place of its training."""
    config, count = plan.config, len(plan.photos.rows["train"])
    views = config.recipe.probe_views
    augmented = f" and {views} augmented view(s)" if views else ""
    where = plan.accelerator if plan.place.world_size == 1 else f"{plan.accelerator} of the first process"
    balance = f", balance {config.data.balance}" if config.data.balance != "none" else ""
    return {
        "training": f"linear probe: logistic regression on features of {count} images, one centre crop{augmented} each,"
        f" on the {where}, {config.trainer.precision}{balance}; regularisation by cross-validation within train",
    }
