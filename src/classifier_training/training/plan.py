"""The plan of a training: the configuration with everything automatic decided, the photos, the preprocessing."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from classifier_training.config.compose import AUTO
from classifier_training.config.contradictions import HALF_ON_CPU
from classifier_training.config.probe import as_probe, is_probe
from classifier_training.config.schema import Config
from classifier_training.data.cache.caches import reduced_side
from classifier_training.data.loading.failures import check_shared_memory
from classifier_training.data.photos import Photos, load_photos
from classifier_training.data.sources.detect import shown_root
from classifier_training.data.splits.make import SPLIT_RULE
from classifier_training.errors import ConfigError
from classifier_training.files.text import name_some
from classifier_training.imaging.library_messages import num_messages
from classifier_training.models.backbone import backbone_preprocessing, check_backbone_name
from classifier_training.models.device import auto_precision, resolve_accelerator
from classifier_training.models.optim import check_optimizer
from classifier_training.models.schedule import default_warmup_epochs
from classifier_training.models.starting_weights import StartingWeights
from classifier_training.run.cpus import NO_LOADERS, LoaderProcesses, decide_loader_processes
from classifier_training.run.place import ALONE, Place
from classifier_training.run.time_budget import TimeBudget
from classifier_training.terminal.terminal import Terminal
from classifier_training.tracking.opening import check_trackers
from classifier_training.training.all_at_once import check_all
from classifier_training.training.choice_row import describe_choice
from classifier_training.training.choose import choose, completed, facts_of, is_open
from classifier_training.training.devices import decide_place
from classifier_training.training.images import describe_images
from classifier_training.training.lr_scaling import describe_scaling, images_of_step, scale_lr
from classifier_training.training.model_defaults import model_defaults
from classifier_training.training.probe_row import describe_probe
from classifier_training.training.step_rows import describe_curve, describe_optimizer
from classifier_training.training.teacher import Teacher, find_teacher, pin_teacher, warn_of_teacher
from classifier_training.training.weights import decide_weights, describe_source, starts_from_weights, warn_of_missing
from classifier_training.types import Preprocessing

Complete = Callable[[Mapping[str, object]], Config]
"""Gives the configuration with presets and settings that were chosen."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be trained.

    Attributes:
        config: The configuration, with everything automatic decided.
        photos: The photos, found, checked and split.
        preprocessing: The one preprocessing of this run.
        accelerator: ``cpu``, ``cuda`` or ``mps``.
        place: This process among those that train.
        loaders: The loader processes of each device.
        notice: What the user has to know of how the devices were decided; None: nothing.
        weights: What the backbone starts from; None in a run that continues from a checkpoint.
        time: What becomes of the time, where it is limited.
        lr_scaling: How the learning rate follows from the number of images in a step; None: it is as given.
        reasons: What was automatic, such as ``model=auto``, and why it became what it is.
        teacher: What the model learns from besides the labels; None: from nothing.
    """

    config: Config
    photos: Photos
    preprocessing: Preprocessing
    accelerator: str
    place: Place = ALONE
    loaders: LoaderProcesses = NO_LOADERS
    notice: str | None = None
    weights: StartingWeights | None = None
    time: TimeBudget | None = None
    lr_scaling: str | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    teacher: Teacher | None = None

    @property
    def num_batches(self) -> int:
        """Batches of an epoch on each device."""
        return max(1, len(self.photos.rows["train"]) // (self.config.data.images_per_batch * self.place.world_size))

    @property
    def num_devices(self) -> int:
        """Devices of each machine."""
        devices = self.config.trainer.devices
        return devices if isinstance(devices, int) else self.place.num_devices


def make_plan(
    config: Config,
    terminal: Terminal,
    split_rule: int = SPLIT_RULE,
    *,
    complete: Complete | None = None,
    needs_weights: bool = True,
) -> Plan:
    """Checks the backbone and the photos, and decides what was left automatic.

    Args:
        config: The configuration.
        terminal: Shows the progress.
        split_rule: That of the run.
        complete: Gives the configuration with what was chosen; None: composed from the settings that are set.
        needs_weights: Whether the model starts from the weights of the configuration, not from a checkpoint.

    Raises:
        UserError: The backbone, its weights, the device or the photos cannot be used as configured.
    """
    _check_names(config)
    weights = decide_weights(config) if needs_weights and not is_open(config) else None
    accelerator = _decide_accelerator(as_probe(config))
    place, notice = decide_place(as_probe(config).trainer, accelerator)
    loaders = _decide_loaders(config, place)
    photos = _find_photos(config, terminal, split_rule)
    reasons: Mapping[str, str] = {}
    if needs_weights and AUTO in (config.model.name, config.recipe.name):
        choice = choose(config, facts_of(config, photos, accelerator, place.world_size), weights)
        config = complete(choice.settings) if complete is not None else completed(config, choice.settings)
        weights, reasons = choice.weights, choice.reasons
    teacher, config = find_teacher(config, photos), as_probe(config)
    preprocessing = _preprocessing(config)
    decided = _decide(pin_teacher(config, teacher), photos, preprocessing, accelerator, place, weights)
    return Plan(
        decided, photos, preprocessing, accelerator, place, loaders, notice, weights,
        lr_scaling=describe_scaling(config.optimizer, decided.optimizer), reasons=reasons, teacher=teacher,
    )  # fmt: skip


def _preprocessing(config: Config) -> Preprocessing:
    prepared = backbone_preprocessing(config.model.name, config.data.evaluation_size, config.data.crop_pct)
    return prepared.decoded_as(config.data.decoding)


def _check_names(config: Config) -> None:
    """Finds what is wrong with names and the device, all at once."""
    trainer = as_probe(config).trainer
    known = trainer.precision if trainer.precision != "auto" else "32-true"
    check_all(
        [
            lambda: None if config.model.name == AUTO else check_backbone_name(config.model.name),
            lambda: check_trackers(config.tracking),
            lambda: resolve_accelerator(trainer.accelerator),
            lambda: check_optimizer(as_probe(config).optimizer, known),
        ]
    )


def _decide_accelerator(config: Config) -> str:
    """The kind of device, which can compute in the precision of the configuration."""
    accelerator, precision = resolve_accelerator(config.trainer.accelerator), config.trainer.precision
    check_optimizer(config.optimizer, auto_precision(accelerator) if precision == "auto" else precision)
    if precision == "16-mixed" and accelerator == "cpu":
        raise ConfigError(HALF_ON_CPU)
    return accelerator


def _decide_loaders(config: Config, place: Place) -> LoaderProcesses:
    """The loader processes of each device, for which there is memory."""
    loaders = decide_loader_processes(config.data.num_workers, place.num_devices)
    check_shared_memory(loaders.count * place.num_devices)
    if loaders.notice is not None:
        warnings.warn(loaders.notice, stacklevel=3)  # once, whoever makes loaders after this
    return loaders


def _find_photos(config: Config, terminal: Terminal, split_rule: int) -> Photos:
    with (
        terminal.progress("looking for photos", "folders") as scanning,
        terminal.progress("fetching photos", "files") as fetching,
        terminal.progress("checking photos", "files") as progress,
    ):
        already = num_messages()
        photos = load_photos(
            config.data, config.seed, progress, scanning=scanning, fetching=fetching, split_rule=split_rule
        )
    if num_messages() > already:
        terminal.log_line(f"image libraries gave {num_messages() - already} message(s) while the photos were checked")
    return photos


def describe_plan(plan: Plan, terminal: Terminal) -> None:
    """Prints what data was found and what will be done with it; a further process, which is silent, does nothing."""
    if terminal.silent:  # and may not know its batch size yet
        return
    photos, config = plan.photos, plan.config
    terminal.info(f"photos: {shown_root(photos.root)}, {photos.layout}")
    names = list(photos.rows)
    counts = {split: photos.counts(split) for split in names}
    rows = [[name, *(str(counts[split][index]) for split in names)] for index, name in enumerate(photos.classes)]
    shown = rows if len(rows) <= MAX_CLASSES_SHOWN else [*rows[:MAX_CLASSES_SHOWN], ["…", *("" for _ in names)]]
    totals = [str(len(photos.rows[split])) for split in names]
    terminal.table(f"{len(photos.classes)} classes", ["class", *names], [*shown, ["all", *totals]])
    for note in photos.notes:
        terminal.info(note)
    for image in photos.bad:
        terminal.log_line(f"left out: {image.reason}")
    if photos.bad:
        reasons = name_some(image.reason for image in photos.bad)
        terminal.warn(f"{len(photos.bad)} unreadable file(s) left out, listed in data/split.csv: {reasons}")
    for warning in photos.warnings:
        terminal.warn(warning)
    if plan.notice is not None:
        terminal.warn(plan.notice)
    warn_of_missing(plan, terminal)
    terminal.pairs("plan", plan_rows(config, plan))
    warn_of_teacher(plan, terminal)
    num_steps = config.trainer.num_epochs * math.ceil(plan.num_batches / config.trainer.accumulate_grad_batches)
    if config.ema.enabled and config.ema.warmup_steps >= num_steps:
        terminal.warn(
            f"ema.warmup_steps={config.ema.warmup_steps} is as long as the training, {num_steps} optimizer steps: the"
            " average will be the last weights; lower it, or set ema.enabled=false"
        )


MAX_CLASSES_SHOWN = 40


def plan_rows(config: Config, plan: Plan) -> dict[str, str]:
    """The plan by its rows: names and texts."""
    model, data = config.model, config.data
    prepared = plan.preprocessing
    ema = (
        f"decay rising to {config.ema.decay:g}, warm-up {config.ema.warmup_steps} steps"
        if config.ema.enabled
        else "off"
    )
    accumulation = f" × {config.trainer.accumulate_grad_batches}" if config.trainer.accumulate_grad_batches > 1 else ""
    place, loaders = plan.place, plan.loaders
    batches = _counted(plan.num_batches, "batch", "batches")
    nodes = f" on each of {place.num_nodes} machines" if place.num_nodes > 1 else ""
    devices = f"{place.num_devices} × {plan.accelerator}{nodes}" if place.world_size > 1 else plan.accelerator
    each = " for each device" if place.num_devices > 1 else ""
    rows = {
        **plan.reasons,
        "backbone": f"{model.name}, from {describe_source(config, plan.weights)}",
        "input": f"{prepared.image_size} px, crop {prepared.crop_pct:g}, {prepared.interpolation},"
        f" mean {prepared.mean}, std {prepared.std}",
    }
    if is_probe(config):
        return rows | describe_probe(plan)
    return rows | {
        "training": f"{_length(config)} of {batches},"
        f" batch size {data.batch_size}{accumulation}, {devices}, {config.trainer.precision}",
        **describe_images(data, prepared, config.trainer),
        "loading": f"{_counted(loaders.count, 'process', 'processes')}{each}: {loaders.reason}",
        "schedule": _schedule(config),
        "optimizer": describe_optimizer(config.optimizer),
        **({} if plan.lr_scaling is None else {"learning rate": plan.lr_scaling}),
        "loss": f"{config.loss.name}, label smoothing {config.loss.label_smoothing:g}, balance {data.balance}",
        **({} if plan.teacher is None else {"teacher": plan.teacher.describe(config)}),
        "EMA": ema,
        "best epoch by": f"{config.checkpoint.monitor} in {config.trainer.precision}; final scores are in float32",
        **describe_choice(config),
    }


def _schedule(config: Config) -> str:
    """What is trained when."""
    frozen, statistics = config.model.freeze_epochs, "frozen" if config.model.freeze_norm_stats else "updated"
    first = f"head only for {_counted(frozen, 'epoch')}, then all layers" if frozen else "all layers from the start"
    if frozen and frozen >= config.trainer.num_epochs:
        first = "head only"
    if stages := config.model.freeze_stages:
        which = "stem" if stages == 1 else f"first {stages} stages"
        first = first.replace("all layers", f"all layers but those of the {which}")
    if config.recipe.start_from_probe and (config.model.pretrained or config.model.weights):
        first = f"head fitted as a probe; {first}"
    warmup = config.scheduler.warmup_epochs or 0
    length = _counted(warmup, "epoch")
    if config.trainer.is_ended_by_clock:
        length = f"{warmup / config.trainer.num_epochs:.0%} of the time"
    curve = f"warm-up {length}, then {describe_curve(config.scheduler)}"
    return f"{first}; BatchNorm statistics {statistics}; {curve}"


def _length(config: Config) -> str:
    if config.trainer.is_ended_by_clock:
        return "as many epochs as the time limit allows, each"
    return _counted(config.trainer.num_epochs, "epoch")


def _counted(number: float, one: str, many: str | None = None) -> str:
    """A number with its noun, singular or plural."""
    return f"{number:g} {one if number == 1 else many or one + 's'}"


def _decide(
    config: Config,
    photos: Photos,
    preprocessing: Preprocessing,
    accelerator: str,
    place: Place,
    weights: StartingWeights | None,
) -> Config:
    from_weights = starts_from_weights(config, weights)
    epochs = config.trainer.num_epochs
    is_timed = config.trainer.is_ended_by_clock
    data = {
        "root": photos.root,
        "image_size": backbone_preprocessing(config.model.name).image_size,
        "crop_pct": preprocessing.crop_pct,
        "cache_size": reduced_side(config.data, preprocessing),
    }
    is_open_batch = config.data.batch_size == AUTO  # the learning rate is decided with it
    optimizer = config.optimizer if is_open_batch else scale_lr(config.optimizer, images_of_step(config, place))
    precision: str = config.trainer.precision
    if precision == "auto":
        precision = auto_precision(accelerator)
    trainer: dict[str, Any] = {"precision": precision, "accelerator": accelerator, "devices": place.num_devices}
    if not is_timed:
        trainer["max_epochs"] = epochs
    return config.model_copy(
        update={
            "model": _filled(
                config.model, model_defaults(config, from_weights, accelerator), ("weights", "pretrained")
            ),
            "data": _filled(config.data, data, always=("root",)),
            "scheduler": _filled(
                config.scheduler, {"warmup_epochs": default_warmup_epochs(epochs, config.scheduler.name)}
            ),
            "optimizer": _filled(
                optimizer,
                {"backbone_lr_scale": 0.1 if from_weights and config.optimizer.layer_decay is None else 1.0},
            ),
            "trainer": config.trainer.model_copy(update=trainer),
        }
    )


def _filled(section: Any, values: dict[str, Any], always: tuple[str, ...] = ()) -> Any:
    """A section with values put where it has None."""
    update = {name: value for name, value in values.items() if name in always or getattr(section, name) is None}
    return section.model_copy(update=update)
