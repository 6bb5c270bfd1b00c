"""What no training can do with its settings, over all sections: contradictions, and what was typed and does nothing.

What contradicts itself within one section is refused wherever a configuration is read. What is here is refused where a
training begins, and nowhere else, so that the settings of an earlier run can always be read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from classifier_training.config.idle import idle_settings
from classifier_training.config.probe import as_probe, idle_in_probe, is_probe
from classifier_training.config.schema import Config, LossConfig, SchedulerConfig

Contradiction = tuple[tuple[str, ...], str]
"""Settings by dotted key, and why they do not go together."""

RECIPES_WITH_WEIGHTS: Final = frozenset({"probe", "finetune"})
"""Recipes that train weights on, and cannot be followed without."""


def contradictions(config: Config) -> Iterator[Contradiction]:
    """Settings of several sections that contradict each other, whoever has set them."""
    yield from _of_weights(config)
    if config.distill.teacher is not None and is_probe(config):
        yield ("distill.teacher", "recipe.name"), NO_STEPS_TO_TEACH
    if is_probe(config):
        return  # which has no steps
    if reason := warmup_fault(config.scheduler, config.trainer.num_epochs):
        yield ("scheduler.warmup_epochs", "trainer.max_epochs"), reason
    if config.data.balance == "logit_adjustment" and (reason := adjustment_fault(config.loss)):
        yield ("data.balance", "loss.name"), reason
    if config.optimizer.sam_rho is not None and config.trainer.precision == "16-mixed":
        yield ("optimizer.sam_rho", "trainer.precision"), SAM_IN_HALF
    elif config.trainer.precision == "16-mixed" and config.trainer.accelerator == "cpu":
        yield ("trainer.precision", "trainer.accelerator"), HALF_ON_CPU


NO_STEPS_TO_TEACH: Final = (
    "the probe fits a head to features and has no steps in which a teacher could teach; use recipe=finetune or"
    " recipe=scratch, or leave distill.teacher out"
)
SAM_IN_HALF: Final = "gradients of half precision may be infinite; use trainer.precision=bf16-mixed or 32-true"
HALF_ON_CPU: Final = "trainer.precision=16-mixed needs a GPU; a CPU takes bf16-mixed or 32-true"


def _of_weights(config: Config) -> Iterator[Contradiction]:
    model, recipe = config.model, config.recipe.name
    if recipe in RECIPES_WITH_WEIGHTS and model.pretrained is False and model.weights is None:
        reason = (
            f"recipe={recipe} trains pretrained weights on, and model.pretrained=false uses none: leave one of them"
            " out, give a file with model.weights=FILE, or use recipe=scratch"
        )
        yield ("recipe.name", "model.pretrained"), reason
    if recipe == "scratch" and (model.pretrained is True or model.weights is not None):
        given = "model.pretrained=true" if model.weights is None else f"model.weights={model.weights}"
        yield (
            ("recipe.name", "model.pretrained" if model.weights is None else "model.weights"),
            f"recipe=scratch trains random weights, and {given} are others: leave one of them out",
        )


def contradictions_of_typed(config: Config, typed: Collection[str]) -> Iterator[Contradiction]:
    """Settings that were typed and do nothing, or not what they are for.

    Args:
        config: The configuration.
        typed: Keys of the settings that count, and of the groups of presets; what a preset sets may be idle.
    """
    is_named = "recipe" in typed or "recipe.name" in typed
    for name in ("freeze_epochs", "freeze_stages"):
        if f"model.{name}" in typed and is_named and config.recipe.name == "scratch" and getattr(config.model, name):
            reason = "random weights have learned nothing that freezing could keep; leave one of them out"
            yield (f"model.{name}", "recipe.name"), reason
    for key, reason in idle_in_probe(config).items():
        if key in typed:
            yield (key,), reason
    for key, rule in idle_settings(as_probe(config)):
        if key in typed:
            yield (key, *rule.because_of), rule.reason


def warmup_fault(scheduler: SchedulerConfig, max_epochs: float) -> str | None:
    """Why the learning rate would never reach its peak; None: it does."""
    if scheduler.warmup_epochs is None or scheduler.warmup_epochs < max_epochs:
        return None
    return (
        f"scheduler.warmup_epochs={scheduler.warmup_epochs:g} is as long as the training, trainer.max_epochs="
        f"{max_epochs:g}, or longer: the learning rate would never reach its peak; lower scheduler.warmup_epochs"
        f" below {max_epochs:g}, or raise trainer.max_epochs"
    )


def adjustment_fault(loss: LossConfig) -> str | None:
    """Why logits cannot be adjusted for this loss; None: they can.

    Menon et al. 2021, "Long-tail learning via logit adjustment", adds the log of the classes' shares to the logits of
    the softmax cross-entropy, whose minimum then balances the classes. A sigmoid a class has other odds, and the focal
    loss has its minimum elsewhere than at the probabilities (Charoenphakdee et al. 2021, "On focal loss for
    class-posterior probability estimation").
    """
    if loss.name == "cross_entropy":
        return None
    return (
        f"data.balance=logit_adjustment is right for the softmax cross-entropy alone (Menon et al. 2021), and"
        f" loss.name={loss.name}; use loss.name=cross_entropy, or data.balance=sampler or loss_weights"
    )
