"""`train`: photos in; a trained, scored, exported and proven classifier out."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks.early_stopping import EarlyStopping, EarlyStoppingReason

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.config.arguments import read_overrides
from classifier_training.config.overrides import OverrideLike
from classifier_training.config.probe import is_probe
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.data.loading.failures import explain_loader_failures
from classifier_training.errors import (
    BatchMemoryError,
    DivergedError,
    RunError,
    TrainingStopped,
    explain_out_of_memory,
)
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.checkpoint_files import resumable_checkpoints
from classifier_training.run.events import note_event
from classifier_training.run.folder import RunFolder
from classifier_training.run.freed_memory import keep_freed_memory
from classifier_training.run.processes import is_main_process
from classifier_training.run.stop_requests import StopRequests
from classifier_training.run.surroundings import check_main_guard
from classifier_training.run.time_spent import add_time, time_spent_on
from classifier_training.terminal.terminal import Terminal
from classifier_training.tracking.opening import open_trackers
from classifier_training.tracking.trackers import Trackers
from classifier_training.training.batch_size import decide_batch_size, is_automatic, share_batch_size
from classifier_training.training.finish import Trained, TrainResult, finish_run
from classifier_training.training.group import Group
from classifier_training.training.interruption import report_interruption
from classifier_training.training.launch import join_training, rank_job, start_of_rank
from classifier_training.training.lr_found import with_lr_found
from classifier_training.training.model import build_model
from classifier_training.training.plan import Plan, describe_plan, make_plan
from classifier_training.training.probe import use_one_step
from classifier_training.training.probe_start import begin_with_probe
from classifier_training.training.resume import Resumed
from classifier_training.training.same_devices import check_devices
from classifier_training.training.score_teacher import score_teacher
from classifier_training.training.smaller_batches import advice_on_memory, train_in_memory
from classifier_training.training.start import Finished, New, create_run_folder, find_start
from classifier_training.training.teacher import check_same_teacher, fetch_teacher
from classifier_training.training.time_plan import plan_time
from classifier_training.training.trainer import build_trainer
from classifier_training.training.weights import fetch

KNOWN_WARNINGS = (
    ".*does not have many workers.*",  # the number follows the CPU count or the user's setting
    ".*module.s. in eval mode at the start of training.*",  # frozen BatchNorm statistics are meant
    ".*It is recommended to use .self.log.*sync_dist=True.*",  # what is logged is equal on all ranks
    ".*isinstance.treespec, LeafSpec.*is deprecated.*",  # Lightning's use of torch
    ".*broadcast_buffers. is deprecated.*",  # what replaces it is younger than the oldest torch we take
    ".*your dataloader is not resumable.*",  # the data module seeks to the batch where it stopped
)


def train(
    photos: str | os.PathLike[str] | None = None,
    *overrides: OverrideLike,
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
        resume: A run folder to resume; True: the run that was started last. A job that SLURM has requeued resumes
            the run that it made, with or without this.
        dry_run: Check the settings and the photos and print the plan; train nothing and write nothing.
        quiet: Print warnings and results only.

    Returns:
        What was reached and where it is; None for a dry run.

    Raises:
        UserError: A setting, the photos, the weights or the run folder cannot be used; nothing has been damaged.
        ExportError: The export failed; the checkpoints and the scores are in the run folder.
        KeyboardInterrupt: Ctrl-C stopped the training; it can be resumed.
        TrainingStopped: SIGTERM or SIGUSR1 did; a `SystemExit` of code 0, as being preempted is not a failure. Both
            signals are this function's while it runs, if it runs in the main thread.

    Example:
        >>> result = train("photos", "model=resnet18", "trainer.max_epochs=10")  # doctest: +SKIP
        >>> result.test.top1  # doctest: +SKIP
    """
    return train_since(time.monotonic(), photos, *overrides, config=config, resume=resume, dry_run=dry_run, quiet=quiet)


def train_since(
    started: float,
    photos: str | os.PathLike[str] | None = None,
    *overrides: OverrideLike,
    config: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | bool = False,
    dry_run: bool = False,
    quiet: bool = False,
) -> TrainResult | None:
    """`train` of a command that began at ``started``, by the monotonic clock: its time limit counts from there."""
    check_main_guard()
    terminal = Terminal(quiet=quiet, silent=not is_main_process())
    given = read_overrides(*overrides, photos=photos)
    requests = StopRequests()
    with terminal.capture_warnings(), _quiet_libraries(), requests, contextlib.ExitStack() as group_stack:
        with report_interruption(terminal, lambda: "before training", None):
            start = find_start(resume, given, None if config is None else Path(config))
            if isinstance(start, Finished):
                return _report_finished(start, terminal)
            plan, model = _prepare(start, terminal, dry_run=dry_run)
            timed = plan_time(
                plan, model, started, terminal, measure=_needs_costs(start), is_new=isinstance(start, New)
            )
            if timed is None and isinstance(start, New):
                why = f"probe, as trainer.time_limit={plan.config.trainer.time_limit} is too short for one epoch"
                start = start.as_probe(plan.config)
                plan, model = _prepare(start, terminal, dry_run=dry_run)
                plan = replace(plan, reasons={**plan.reasons, "recipe": why})
            plan = timed or plan
            if dry_run:
                terminal.info("dry run: settings and photos are valid; nothing was written")
                return None
            joined = join_training(start, plan, rank_job(start, plan), terminal, lambda: requests.are_agreed)
            group = group_stack.enter_context(joined)
            run = RunFolder(Path(group.share("run", lambda: str(start.open_run(plan.config).root))))
        add_time(run, "start", time.monotonic() - started)
        with terminal.log_to(run.log) if is_main_process() else contextlib.nullcontext():
            return group.share_result(_train_in(run, plan, model, start, terminal, requests, group))


def _needs_costs(start: New | Resumed) -> bool:
    """Whether what a training costs is not known from a checkpoint yet."""
    return isinstance(start, New) or not (start.time or start.is_trained)


def _report_finished(start: Finished, terminal: Terminal) -> TrainResult:
    done = start.result
    terminal.result(f"{done.run} is finished, there is nothing left to do: {done.split} top-1 {done.test.top1:.2%}")
    return done


def _prepare(start: New | Resumed, terminal: Terminal, *, dry_run: bool) -> tuple[Plan, BaseClassificationModel]:
    """Plans, checks and builds what is to be trained, and prints the plan; a dry run downloads no weights."""
    if isinstance(start, Resumed) and start.trained_on is not None and not start.is_trained:
        check_devices(start.run, start.trained_on, start.config)
    plan = make_plan(
        start.config, terminal, start.split_rule, complete=start.complete, needs_weights=start.checkpoint is None
    )
    start.check(plan.photos)
    if isinstance(start, Resumed):
        check_same_teacher(start.run, plan.teacher)
    if is_automatic(plan) and not dry_run:  # what the teacher takes of a step is measured
        plan = replace(plan, teacher=fetch_teacher(plan.teacher, terminal))
    plan = decide_batch_size(plan, terminal)
    describe_plan(plan, terminal)
    if not dry_run:
        plan = replace(plan, weights=fetch(plan.weights, terminal), teacher=fetch_teacher(plan.teacher, terminal))
    advice = f"choose a smaller model.name, or lower data.image_size (now {plan.preprocessing.image_size})"
    with explain_out_of_memory(f"building {plan.config.model.name}", advice):
        return plan, build_model(plan, terminal)


def train_rank(job: Mapping[str, Any]) -> None:
    """Trains on one more device of a training that another process has started; writes and prints nothing.

    Args:
        job: From `rank_job`.
    """
    terminal, requests = Terminal(silent=True), StopRequests()
    with terminal.capture_warnings(), _quiet_libraries(), requests:
        start = start_of_rank(job)
        plan = make_plan(
            start.config, terminal, start.split_rule, complete=start.complete, needs_weights=start.checkpoint is None
        )
        plan = replace(plan, weights=fetch(plan.weights, terminal), teacher=fetch_teacher(plan.teacher, terminal))
        model = build_model(plan, terminal)
        plan = plan_time(plan, model, time.monotonic(), terminal, measure=False, is_new=False) or plan
        with join_training(start, plan, {}, terminal, lambda: requests.are_agreed, job["meeting"]) as group:
            run = RunFolder(Path(group.share("run", str)))
            _train_in(run, plan, model, start, terminal, requests, group)


def _train_in(
    run: RunFolder,
    plan: Plan,
    model: BaseClassificationModel,
    start: New | Resumed,
    terminal: Terminal,
    requests: StopRequests,
    group: Group,
) -> TrainResult | None:
    """Trains, scores and exports in a run folder; None in every process but the first.

    Where a batch needs more memory than there is, all of it starts over with smaller ones.
    """
    terminal.info(f"run folder: {run.root}")
    started = time.monotonic()

    with report_interruption(terminal, lambda: "before the first step", run):
        plan, model = share_batch_size(plan, model, group)
        plan, model = with_lr_found(run, plan, model, terminal, group)

    def attempt(plan: Plan, model: BaseClassificationModel, start: New | Resumed) -> TrainResult | None:
        return _attempt(run, plan, model, start, terminal, requests, group, started)

    return train_in_memory(attempt, run, plan, model, start, terminal, group)


def _attempt(
    run: RunFolder,
    plan: Plan,
    model: BaseClassificationModel,
    start: New | Resumed,
    terminal: Terminal,
    requests: StopRequests,
    group: Group,
    started: float,
) -> TrainResult | None:
    with report_interruption(terminal, lambda: "before the first step", run):
        if is_main_process():
            create_run_folder(run, plan, start.checkpoint)
        start.describe(terminal)
        trackers = _trackers(run, plan, terminal)
    with trackers:
        trainer = build_trainer(run, plan, terminal, requests, trackers, group.place)
        with report_interruption(terminal, lambda: _reached(trainer, plan, is_trained=start.is_trained), run):
            if start.best is not None and start.is_trained:
                best, num_epochs = start.best, start.epoch
            else:
                if start.checkpoint is None:
                    score_teacher(run, plan, model, group, terminal, trainer.strategy.root_device)
                    advice = advice_on_memory(plan)
                    with explain_out_of_memory("fitting the probe", advice), time_spent_on(run, "probe"):
                        begin_with_probe(run, plan, model, group, terminal, trainer.strategy.root_device)
                with time_spent_on(run, "training"):
                    _fit(trainer, model, run, plan, start.checkpoint, terminal)
                requests.raise_if_received()
                best, num_epochs = _best(trainer, run, plan, terminal), trainer.current_epoch
            group.end_fit()
            if not is_main_process():
                return None
            trained = Trained(*best, num_epochs, started)
            with explain_out_of_memory("scoring the best weights, which are saved", _advice_on_finish(run, plan)):
                device = trainer.strategy.root_device
                result = finish_run(run, plan, terminal, trained, device, requests.raise_if_received)
            results = json.loads(run.results.read_text(encoding="utf-8"))
            trackers.finish(results, model=result.onnx or result.best_checkpoint)
            return result


def _trackers(run: RunFolder, plan: Plan, terminal: Terminal) -> Trackers:
    """Starts the run in its trackers and prints how to open them; only the first process does."""
    if not is_main_process():
        return Trackers()
    trackers = open_trackers(plan.config.tracking, run, plan.config.model_dump(mode="json"))
    for message in trackers.messages:
        terminal.info(message)
    return trackers


def _fit(
    trainer: lightning.Trainer,
    model: BaseClassificationModel,
    run: RunFolder,
    plan: Plan,
    checkpoint: Path | None,
    terminal: Terminal,
) -> None:
    settings = plan.config.data.model_copy(update={"num_workers": plan.loaders.count})
    data = ImageFolderDataModule(
        config=settings, preprocessing=plan.preprocessing, seed=plan.config.seed, photos=plan.photos
    )
    data.is_ended_by_clock = plan.config.trainer.is_ended_by_clock
    if plan.time is not None:
        data.has_time_limit = True
        data.expected_epochs = min(plan.time.expected_epochs, plan.config.trainer.max_epochs or sys.maxsize)
    if is_probe(plan.config):
        use_one_step(data)
    for message in data.caches.messages:
        terminal.info(message)
    for warning in data.caches.opening_warnings():
        terminal.warn(warning)
    if plan.accelerator == "cpu":
        keep_freed_memory()
    try:
        advice = advice_on_memory(plan)
        with explain_out_of_memory("training", advice, BatchMemoryError), explain_loader_failures():
            trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except DivergedError as error:
        raise DivergedError(f"{error}; {_good_checkpoints(trainer, run)}") from None
    except TrainingStopped:
        raise
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the one into the other
        raise KeyboardInterrupt from None
    finally:
        data.close_caches()


def _advice_on_finish(run: RunFolder, plan: Plan) -> str:
    """What to do about a finished training whose weights cannot be scored."""
    batch_size = plan.config.data.batch_size
    lower = f"lower data.batch_size (now {batch_size}): classifier-training evaluate {run.root} data.batch_size=1"
    return f"free memory and resume: classifier-training train --resume {run.root}; to score them, {lower}"


def _good_checkpoints(trainer: lightning.Trainer, run: RunFolder) -> str:
    """Which weights a training that has diverged leaves, and how to go on from them; they are finite."""
    best = trainer.checkpoint_callback
    if not isinstance(best, RunCheckpoint) or not resumable_checkpoints(run):
        return "no checkpoint was written"
    if not run.best_checkpoint.is_file() or best.best_epoch is None:
        return f"{run.last_checkpoint} is of a step before; train --resume {run.root} repeats what came after it"
    return (
        f"the weights before it are good: {run.best_checkpoint} of epoch {best.best_epoch + 1}; start a new run from"
        f" there with model.weights={run.best_checkpoint}"
    )


def _best(trainer: lightning.Trainer, run: RunFolder, plan: Plan, terminal: Terminal) -> tuple[int, float]:
    """Epoch and score of the best weights, after training."""
    stopping, why = trainer.early_stopping_callback, None
    if plan.time is not None and plan.time.is_over:
        why = f"the time for training is up after {trainer.current_epoch} epoch(s); finishing"
    elif isinstance(stopping, EarlyStopping) and trainer.should_stop:
        why = _why_stopped_early(stopping)
    if why is not None:
        terminal.info(why)
        note_event(run, why.removesuffix("; finishing"))
    best = trainer.checkpoint_callback
    if not isinstance(best, RunCheckpoint) or best.best_epoch is None or best.best_model_score is None:
        raise RunError(f"{run.root} has no best checkpoint; nothing was trained")
    return best.best_epoch, best.best_model_score


def _why_stopped_early(stopping: EarlyStopping) -> str:
    if stopping.stopping_reason == EarlyStoppingReason.NON_FINITE_METRIC:
        return f"stopped early: {stopping.monitor} of epoch {stopping.stopped_epoch + 1} is not a finite number"
    return f"stopped early: no better {stopping.monitor} in {stopping.patience} epoch(s)"


def _reached(trainer: lightning.Trainer, plan: Plan, *, is_trained: bool) -> str:
    """How far a training came, for a message."""
    if is_trained or trainer.state.finished:
        return "after training"
    if trainer.global_step == 0:
        return "before the first step"
    max_epochs = trainer.max_epochs or plan.config.trainer.num_epochs
    return f"in epoch {min(trainer.current_epoch + 1, max_epochs)}/{max_epochs} after step {trainer.global_step}"


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
