"""`train`: photos in; a trained, scored, exported and proven classifier out."""

from __future__ import annotations

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.strategies import DDPStrategy

from classifier_training.callbacks.checkpoint import AtomicCheckpointIO, RunCheckpoint
from classifier_training.callbacks.ema import EMACallback
from classifier_training.callbacks.graceful_stop import GracefulStop
from classifier_training.callbacks.metrics_csv import MetricsCSV
from classifier_training.callbacks.progress import TrainingProgress
from classifier_training.callbacks.throughput import Throughput
from classifier_training.config import load_config, to_yaml
from classifier_training.config.schema import Config
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.data.split_file import write_split
from classifier_training.environment import describe_environment
from classifier_training.errors import ClassifierTrainingError, RunError
from classifier_training.finish import TrainResult, finish_run
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.weights import load_pretrained, load_weights_file
from classifier_training.plan import Plan, describe_plan, make_plan
from classifier_training.resume import ResumePoint, check_classes, check_photos, resume_point
from classifier_training.runs import RunFolder, check_run_name, create_run, write_json, write_text
from classifier_training.settings import Overrides, collect_overrides
from classifier_training.terminal import Terminal

RUN_FOLDER_VARIABLE = "CLASSIFIER_TRAINING_RUN_FOLDER"
"""Tells the processes that a multi-device run starts which folder the first one made."""

KNOWN_WARNINGS = (
    ".*does not have many workers.*",  # the number follows the CPU count or the user's setting
    ".*module.s. in eval mode at the start of training.*",  # frozen BatchNorm statistics are meant
    ".*It is recommended to use .self.log.*sync_dist=True.*",  # what is logged is equal on all ranks
    ".*isinstance.treespec, LeafSpec.*is deprecated.*",  # Lightning's use of torch
    ".*Grad strides do not match bucket view strides.*",  # channels_last under DDP; costs a copy, no exactness
    ".*broadcast_buffers. is deprecated.*",  # what replaces it is younger than the oldest torch we take
    ".*your dataloader is not resumable.*",  # the data module seeks to the batch where it stopped
)


def train(
    photos: str | os.PathLike[str] | None = None,
    *overrides: Overrides,
    config: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | bool = False,
    dry_run: bool = False,
    quiet: bool = False,
) -> TrainResult | None:
    """Trains a classifier on a folder of photos, scores it on the test split, exports it and proves the export.

    Args:
        photos: A folder of photos or a table file; None: ``data.root`` of the settings.
        overrides: Settings, such as ``"model=resnet50"``, ``"trainer.max_epochs=50"`` or ``{"data.batch_size": 64}``.
        config: A YAML file of settings, such as the ``config.yaml`` of an earlier run.
        resume: Go on with this run folder; True: with the run that was started last.
        dry_run: Check the settings and the photos, say the plan, train nothing and write nothing.
        quiet: Say warnings only.

    Returns:
        What was reached and where it is; None for a dry run.

    Raises:
        UserError: A setting, the photos, the weights or the run folder cannot be used; nothing has been damaged.
        ExportError: The export failed; the checkpoints and the scores are in the run folder.
        KeyboardInterrupt: The training was stopped; it can be resumed.

    Example:
        >>> result = train("photos", "model=resnet18", "trainer.max_epochs=10")  # doctest: +SKIP
        >>> result.test.top1  # doctest: +SKIP
    """
    terminal = Terminal(quiet=quiet, silent=not _is_main_process())
    words = collect_overrides(overrides, photos)
    with terminal.capture_warnings(), _quiet_libraries():
        point = _resume_point(resume, words, config)
        settings = (
            point.config if point is not None else load_config(words, file=None if config is None else Path(config))
        )
        # the run's own config.yaml holds its name; repeating that run makes a second one beside it
        may_rename = config is not None and not any(word.startswith("run.name=") for word in words)
        if point is None and _is_main_process():
            check_run_name(Path(settings.run.dir).expanduser(), settings.run.name, may_rename=may_rename)
        plan = make_plan(settings, terminal)
        if point is not None:
            check_classes(point, plan.photos.classes)
            check_photos(point, plan.photos)
        describe_plan(plan, terminal)
        model, said = _build_model(plan, load_weights=point is None or point.checkpoint is None)
        for sentence in said:
            terminal.say(sentence)
        if dry_run:
            terminal.say("dry run: the settings and the photos are fine; nothing was written")
            return None
        run = point.run if point is not None else _new_run(plan, may_rename=may_rename)
        with terminal.log_to(run.log) if _is_main_process() else contextlib.nullcontext():
            return _train_in(run, plan, model, point, terminal)


def _train_in(
    run: RunFolder, plan: Plan, model: BaseClassificationModel, point: ResumePoint | None, terminal: Terminal
) -> TrainResult | None:
    terminal.say(f"run folder: {run.root}")
    started = time.monotonic()
    if _is_main_process():
        run.remove_unfinished()
        write_text(run.config, to_yaml(plan.config))
        write_json(
            run.environment,
            describe_environment(
                seed=plan.config.seed, data_root=plan.photos.root, fingerprint=plan.photos.fingerprint
            ),
        )
        write_split(run.split, plan.photos)
    checkpoint = None if point is None else point.checkpoint
    if point is not None:
        terminal.say(_where(point, plan))
    data = ImageFolderDataModule(
        config=plan.config.data, preprocessing=plan.preprocessing, seed=plan.config.seed, photos=plan.photos
    )
    trainer = _build_trainer(run, plan, terminal)
    try:
        trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except torch.OutOfMemoryError:
        batch_size = plan.config.data.batch_size
        raise ClassifierTrainingError(
            f"the device is out of memory; lower data.batch_size (now {batch_size}) and raise"
            f" trainer.accumulate_grad_batches by the same factor, or use trainer.precision=bf16-mixed"
        ) from None
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other
        terminal.say(
            f"stopped at epoch {trainer.current_epoch + 1}; go on with: classifier-training train --resume {run.root}"
        )
        raise KeyboardInterrupt from None
    if not trainer.is_global_zero:
        return None
    stopping = trainer.early_stopping_callback
    if isinstance(stopping, EarlyStopping) and stopping.stopped_epoch:
        terminal.say(f"stopped early: no better {stopping.monitor} in {stopping.patience} epoch(s)")
    best = trainer.checkpoint_callback
    if not isinstance(best, RunCheckpoint) or best.best_epoch is None or best.best_model_score is None:
        raise RunError(f"{run.root} has no best checkpoint; nothing was trained")
    return finish_run(
        run,
        plan,
        terminal,
        device=trainer.strategy.root_device,
        best_epoch=best.best_epoch,
        best_score=best.best_model_score,
        num_epochs=trainer.current_epoch,
        started=started,
    )


def _where(point: ResumePoint, plan: Plan) -> str:
    """Where a resumed run goes on, for a person."""
    if point.checkpoint is None:
        return "no checkpoint yet: starting anew"
    if point.epoch >= plan.config.trainer.max_epochs:
        return f"all {point.epoch} epochs are trained already: finishing"
    return f"going on with epoch {point.epoch + 1}" + (f", batch {point.batch + 1}" if point.batch else "")


def _build_model(plan: Plan, *, load_weights: bool) -> tuple[BaseClassificationModel, list[str]]:
    """The model with its starting weights, and what to say of them."""
    config, counts = plan.config, plan.photos.counts("train")
    lightning.seed_everything(config.seed, verbose=False)
    data = ImageFolderDataModule(config=config.data, preprocessing=plan.preprocessing, photos=plan.photos)
    model = BaseClassificationModel(
        config.model.name,
        plan.photos.classes,
        config=config,
        preprocessing=plan.preprocessing,
        class_counts=counts if config.data.balance == "logit_adjustment" else None,
        class_weights=data.class_weights() if config.data.balance == "loss_weights" else None,
    )
    if load_weights and config.model.weights is not None:
        return model, [load_weights_file(model.backbone, Path(config.model.weights))]
    if load_weights and config.model.pretrained:
        return model, [load_pretrained(model.backbone, config.model.name)]
    return model, []


def _build_trainer(run: RunFolder, plan: Plan, terminal: Terminal) -> lightning.Trainer:
    settings = plan.config.trainer
    return lightning.Trainer(
        accelerator=plan.accelerator,
        devices=_num_devices(plan),
        num_nodes=settings.num_nodes,
        strategy=_strategy(plan),
        sync_batchnorm=plan.accelerator == "cuda" and _num_devices(plan) * settings.num_nodes > 1,
        precision=settings.precision,  # type: ignore[arg-type]  # "auto" has been decided
        max_epochs=settings.max_epochs,
        accumulate_grad_batches=settings.accumulate_grad_batches,
        gradient_clip_val=settings.gradient_clip_val,
        deterministic="warn" if settings.deterministic else False,
        benchmark=not settings.deterministic,
        callbacks=_callbacks(run, plan.config, terminal),
        plugins=[AtomicCheckpointIO()],
        default_root_dir=run.root,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _callbacks(run: RunFolder, config: Config, terminal: Terminal) -> list[Callback]:
    """In the order in which they act; Lightning puts checkpoints last."""
    throughput = Throughput()
    callbacks: list[Callback] = [
        throughput,
        MetricsCSV(run.metrics),
        TrainingProgress(terminal, throughput),
        GracefulStop(),
    ]
    if config.ema.enabled:
        callbacks.insert(0, EMACallback(config.ema.decay, config.ema.warmup_steps))
    monitor, mode = config.checkpoint.monitor, config.checkpoint.mode
    if config.trainer.early_stopping_patience is not None:
        patience = config.trainer.early_stopping_patience
        callbacks.append(EarlyStopping(monitor, patience=patience, mode=mode, check_on_train_epoch_end=True))
    callbacks.append(RunCheckpoint(run.checkpoints, monitor, mode, config.checkpoint.every_n_steps))
    return callbacks


def _num_devices(plan: Plan) -> int:
    devices = plan.config.trainer.devices
    if isinstance(devices, int):
        return devices
    return torch.cuda.device_count() if plan.accelerator == "cuda" else 1


def _strategy(plan: Plan) -> Any:
    if _num_devices(plan) * plan.config.trainer.num_nodes == 1:
        return "auto"
    # the frozen backbone gets no gradients; buffers are equal already, and a broadcast for each evaluation batch would
    # hang where one rank has a batch more than another
    return DDPStrategy(find_unused_parameters=bool(plan.config.model.freeze_epochs), broadcast_buffers=False)


def _resume_point(
    resume: str | os.PathLike[str] | bool, words: list[str], config: str | os.PathLike[str] | None
) -> ResumePoint | None:
    if resume is False:
        return None
    if config is not None:
        raise RunError("--resume takes the run's own config.yaml; leave --config out")
    parent = load_config([word for word in words if word.startswith("run.dir=")]).run.dir
    rest = [word for word in words if not word.startswith("run.dir=")]
    return resume_point(resume if resume is True else Path(resume), rest, Path(parent))


def _new_run(plan: Plan, *, may_rename: bool) -> RunFolder:
    """Makes the run folder, or takes the one that the first process of this run has made."""
    made = os.environ.get(RUN_FOLDER_VARIABLE)
    if made is not None and not _is_main_process():
        return RunFolder(Path(made))
    settings = plan.config.run
    run = create_run(Path(settings.dir).expanduser(), settings.name, plan.config.model.name, may_rename=may_rename)
    os.environ[RUN_FOLDER_VARIABLE] = str(run.root.resolve())
    return run


def _is_main_process() -> bool:
    """Whether this is the process that talks and writes; launchers number the others."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK"))


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keeps Lightning's notices off the terminal; what matters of them is in the plan."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
