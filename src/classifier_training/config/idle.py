"""Settings that do nothing in a training, because of others: one table, from which the messages are made.

Settings that a training never uses, but another command does, are not in it: ``export.tolerance`` is used by ``export``
also where the training does not export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from classifier_training.config.flatten import flat_settings
from classifier_training.config.schema import Config


@dataclass(frozen=True, slots=True)
class IdleRule:
    """Settings that do nothing as long as others are as they are.

    Attributes:
        keys: The settings, such as ``ema.decay``.
        because_of: The settings that decide.
        is_idle: Whether they do nothing in a training of this configuration.
        reason: Why, and what to do; follows their names and values.
    """

    keys: tuple[str, ...]
    because_of: tuple[str, ...]
    is_idle: Callable[[Config], bool]
    reason: str


def _of_schedule(name: str, *others: str) -> Callable[[Config], bool]:
    return lambda config: config.scheduler.name not in {name, *others}


def _never_mixes(config: Config) -> bool:
    data = config.data
    return not (data.mixup or data.cutmix)


def _ignores_labels(config: Config) -> bool:
    return config.distill.teacher is not None and config.distill.weight == 1


def _never_frees(config: Config) -> bool:
    """Whether the backbone is never trained."""
    frozen = config.model.freeze_epochs
    return frozen is not None and frozen >= config.trainer.num_epochs and not config.trainer.is_ended_by_clock


IDLE: Final[tuple[IdleRule, ...]] = (
    IdleRule(
        ("data.mix_prob",),
        ("data.mixup", "data.cutmix"),
        lambda c: _never_mixes(c) and c.data.mix_prob > 0,
        "nothing is mixed; leave it out, or set data.mixup=0.2 or data.cutmix=1",
    ),
    IdleRule(
        ("data.mix_off_epochs",),
        ("data.mixup", "data.cutmix"),
        _never_mixes,
        "nothing is mixed; leave it out, or set data.mixup=0.2 or data.cutmix=1",
    ),
    IdleRule(
        ("data.mix_switch_prob",),
        ("data.mixup", "data.cutmix"),
        lambda c: not (c.data.mixup and c.data.cutmix),
        "is for trainings with both mixup and CutMix; leave it out, or set both",
    ),
    IdleRule(
        ("data.mixup", "data.cutmix"),
        ("data.mix_prob",),
        lambda c: c.data.mix_prob == 0,
        "no batch is ever mixed; leave one of them out",
    ),
    IdleRule(
        ("data.mixup", "data.cutmix"),
        ("data.batch_size",),
        lambda c: c.data.batch_size == 1,
        "one image alone is mixed with no other; raise data.batch_size, or leave it out",
    ),
    IdleRule(
        ("data.mixup",),
        ("data.cutmix", "data.mix_switch_prob"),
        lambda c: bool(c.data.cutmix) and c.data.mix_switch_prob == 1,
        "every mixed batch is one of CutMix; lower data.mix_switch_prob, or leave data.mixup out",
    ),
    IdleRule(
        ("data.cutmix",),
        ("data.mixup", "data.mix_switch_prob"),
        lambda c: bool(c.data.mixup) and c.data.mix_switch_prob == 0,
        "every mixed batch is one of mixup; raise data.mix_switch_prob, or leave data.cutmix out",
    ),
    IdleRule(
        ("data.mixup", "data.cutmix"),
        ("data.mix_off_epochs", "data.final_epochs_at_test_size", "trainer.max_epochs"),
        lambda c: (
            max(c.data.mix_off_epochs, c.data.final_epochs_at_test_size) >= c.trainer.num_epochs
            and not c.trainer.is_ended_by_clock
        ),
        "no epoch is left in which images are mixed; leave one of them out, or train more epochs",
    ),
    IdleRule(
        ("data.progressive_until",),
        ("data.progressive_size",),
        lambda c: c.data.progressive_size is None,
        "no images grow; leave it out, or set data.progressive_size=0.5",
    ),
    IdleRule(
        ("data.progressive_size",),
        ("data.progressive_until",),
        lambda c: c.data.progressive_until == 0,
        "there is no epoch in which images grow; leave one of them out",
    ),
    IdleRule(
        ("data.progressive_size",),
        ("data.final_epochs_at_test_size", "trainer.max_epochs"),
        lambda c: (
            c.data.final_epochs_at_test_size >= c.trainer.num_epochs and not c.trainer.is_ended_by_clock
        ),
        "all epochs have images of data.test_image_size; leave one of them out, or train more epochs",
    ),
    IdleRule(
        ("data.balance_weighting",),
        ("data.balance",),
        lambda c: c.data.balance not in {"sampler", "loss_weights"} and c.data.balance_weighting != "manual",
        "is used by balance=sampler or loss_weights only; leave it out, or set data.balance",
    ),
    IdleRule(
        ("data.balance_beta",),
        ("data.balance", "data.balance_weighting"),
        lambda c: (
            c.data.balance not in {"sampler", "loss_weights"} or c.data.balance_weighting != "effective_number"
        ),
        "is used by balance=sampler or loss_weights with balance_weighting=effective_number only; leave it out",
    ),
    IdleRule(
        ("data.max_bad_fraction",),
        ("data.on_bad_image",),
        lambda c: c.data.on_bad_image == "raise",
        "any broken file stops the training; leave it out, or set data.on_bad_image=skip",
    ),
    IdleRule(
        ("data.on_group_overlap",),
        ("data.group_column",),
        lambda c: c.data.group_column is None,
        "there are no groups; leave it out, or name their column with data.group_column",
    ),
    IdleRule(
        ("data.cache_limit",),
        ("data.cache",),
        lambda c: c.data.cache == "none",
        "no decoded images are kept; leave one of them out",
    ),
    IdleRule(
        ("recipe.start_from_probe",),
        ("recipe.name",),
        lambda c: c.recipe.name == "scratch",
        "random weights have no features to fit a probe to; leave it out, or use recipe=finetune",
    ),
    IdleRule(
        ("recipe.probe_views",),
        ("recipe.name", "recipe.start_from_probe"),
        lambda c: c.recipe.name == "scratch" or (c.recipe.name == "finetune" and not c.recipe.start_from_probe),
        "no probe is fitted; leave it out, or set recipe.start_from_probe=true with recipe=finetune",
    ),
    IdleRule(
        ("distill.weight", "distill.temperature"),
        ("distill.teacher",),
        lambda c: c.distill.teacher is None,
        "there is no teacher; leave it out, or name one, such as distill.teacher=runs/NAME",
    ),
    IdleRule(
        (
            "loss.name", "loss.label_smoothing", "loss.focal_gamma", "loss.asymmetric_gamma_positive",
            "loss.asymmetric_gamma_negative", "loss.poly_epsilon",
        ),
        ("distill.teacher", "distill.weight"),
        _ignores_labels,
        "the teacher is the whole loss and the labels have no share; leave it out, or lower distill.weight",
    ),
    IdleRule(
        ("data.balance",),
        ("distill.teacher", "distill.weight"),
        lambda c: _ignores_labels(c) and c.data.balance in {"loss_weights", "logit_adjustment"},
        "the teacher is the whole loss and the labels have no share; use balance=sampler, or lower distill.weight",
    ),
    IdleRule(
        ("loss.focal_gamma",),
        ("loss.name",),
        lambda c: c.loss.name != "focal",
        "is used by loss.name=focal only; leave it out, or use that loss",
    ),
    IdleRule(
        ("loss.asymmetric_gamma_positive", "loss.asymmetric_gamma_negative"),
        ("loss.name",),
        lambda c: c.loss.name != "asymmetric",
        "is used by loss.name=asymmetric only; leave it out, or use that loss",
    ),
    IdleRule(
        ("loss.asymmetric_gamma_negative",),
        ("loss.label_smoothing",),
        lambda c: c.loss.name == "asymmetric" and c.loss.label_smoothing == 0,
        "focuses what label smoothing gives to the other classes, which is nothing; leave it out, or set"
        " loss.label_smoothing=0.1",
    ),
    IdleRule(
        ("loss.poly_epsilon",),
        ("loss.name",),
        lambda c: c.loss.name != "poly1",
        "is used by loss.name=poly1 only; leave it out, or use that loss",
    ),
    IdleRule(
        ("optimizer.backbone_lr_scale", "optimizer.layer_decay"),
        ("model.freeze_epochs", "trainer.max_epochs"),
        _never_frees,
        "the backbone is never trained; leave it out, or lower model.freeze_epochs",
    ),
    IdleRule(
        ("model.freeze_stages",),
        ("model.freeze_epochs", "trainer.max_epochs"),
        _never_frees,
        "the whole backbone is frozen in all epochs; leave it out, or lower model.freeze_epochs",
    ),
    IdleRule(
        ("optimizer.lr_scaling",),
        ("optimizer.lr_base_batch_size",),
        lambda c: c.optimizer.lr_base_batch_size is None,
        "lr is taken as given; leave it out, or set optimizer.lr_base_batch_size=256, say",
    ),
    IdleRule(
        ("scheduler.min_lr_ratio",),
        ("scheduler.name",),
        lambda c: c.scheduler.name == "constant",
        "the learning rate never falls; leave it out, or use scheduler.name=cosine, say",
    ),
    IdleRule(
        ("scheduler.rise",),
        ("scheduler.name",),
        _of_schedule("one_cycle"),
        "is used by scheduler.name=one_cycle only; leave it out, or use that schedule",
    ),
    IdleRule(
        ("scheduler.milestones",),
        ("scheduler.name",),
        _of_schedule("step"),
        "is used by scheduler.name=step only; leave it out, or use that schedule",
    ),
    IdleRule(
        ("scheduler.gamma",),
        ("scheduler.name",),
        _of_schedule("step", "plateau"),
        "is used by scheduler.name=step or plateau only; leave it out, or use one of these schedules",
    ),
    IdleRule(
        ("scheduler.power",),
        ("scheduler.name",),
        _of_schedule("poly"),
        "is used by scheduler.name=poly only; leave it out, or use that schedule",
    ),
    IdleRule(
        ("scheduler.num_cycles", "scheduler.cycle_growth"),
        ("scheduler.name",),
        _of_schedule("cosine_restarts"),
        "is used by scheduler.name=cosine_restarts only; leave it out, or use that schedule",
    ),
    IdleRule(
        ("scheduler.cycle_growth",),
        ("scheduler.num_cycles",),
        lambda c: c.scheduler.name == "cosine_restarts" and c.scheduler.num_cycles == 1,
        "there is one cosine alone; leave it out, or raise scheduler.num_cycles",
    ),
    IdleRule(
        ("scheduler.plateau_patience",),
        ("scheduler.name",),
        _of_schedule("plateau"),
        "is used by scheduler.name=plateau only; leave it out, or use that schedule",
    ),
    IdleRule(
        ("trainer.default_epochs",),
        ("trainer.max_epochs", "trainer.time_limit"),
        lambda c: c.trainer.max_epochs is not None or c.trainer.time_limit is not None,
        "is for trainings with neither of these; leave it out",
    ),
    IdleRule(
        ("trainer.gradient_clip_algorithm",),
        ("trainer.gradient_clip_val",),
        lambda c: c.trainer.gradient_clip_val == 0 and c.trainer.gradient_clip_algorithm != "agc",
        "no gradient is limited; leave it out, or set trainer.gradient_clip_val",
    ),
    IdleRule(
        ("ema.decay", "ema.warmup_steps"),
        ("ema.enabled",),
        lambda c: not c.ema.enabled,
        "no average of the weights is kept; leave one of them out",
    ),
    IdleRule(
        ("report.max_repeats",),
        ("report.enabled",),
        lambda c: not c.report.enabled,
        "nothing is reported of the sampler; leave one of them out",
    ),
    IdleRule(
        ("tracking.wandb_mode",),
        ("tracking.wandb",),
        lambda c: not c.tracking.wandb,
        "nothing is sent to Weights & Biases; leave it out, or set tracking.wandb=true",
    ),
    IdleRule(
        ("tracking.mlflow_uri",),
        ("tracking.mlflow",),
        lambda c: not c.tracking.mlflow,
        "nothing is sent to MLflow; leave it out, or set tracking.mlflow=true",
    ),
    IdleRule(
        ("tracking.project",),
        ("tracking.wandb", "tracking.mlflow"),
        lambda c: not (c.tracking.wandb or c.tracking.mlflow),
        "is used by Weights & Biases and MLflow only; leave it out, or set tracking.wandb=true or tracking.mlflow=true",
    ),
    IdleRule(
        ("tracking.timeout_seconds",),
        ("tracking.tensorboard", "tracking.wandb", "tracking.mlflow"),
        lambda c: not (c.tracking.tensorboard or c.tracking.wandb or c.tracking.mlflow),
        "there is no tracker; leave it out",
    ),
)  # fmt: skip


def idle_settings(config: Config) -> Iterator[tuple[str, IdleRule]]:
    """The settings that do nothing in a training, unless at their defaults, each with the first rule for it."""
    values = flat_settings(config.model_dump(mode="json"))
    defaults = flat_settings(Config().model_dump(mode="json"))
    seen = set[str]()
    for rule in IDLE:
        wanted = [key for key in rule.keys if key not in seen and values[key] != defaults[key]]
        if wanted and rule.is_idle(config):
            seen.update(wanted)
            yield from ((key, rule) for key in wanted)
