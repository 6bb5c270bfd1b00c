"""A training whose batches need more memory than there is: it starts over with smaller ones, and the same steps."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn, TypeVar

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from classifier_training.config import to_yaml
from classifier_training.config.schema import Config
from classifier_training.errors import BatchMemoryError, UserError
from classifier_training.files.atomic import write_text
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.events import note_event
from classifier_training.run.folder import RunFolder
from classifier_training.run.processes import is_main_process
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.group import Group, Shortage
from classifier_training.training.model import build_model
from classifier_training.training.plan import Plan
from classifier_training.training.resume import Resumed, read_resumed
from classifier_training.training.start import New

T = TypeVar("T")
Attempt = Callable[[Plan, BaseClassificationModel, New | Resumed], T]


def train_in_memory(
    attempt: Attempt[T],
    run: RunFolder,
    plan: Plan,
    model: BaseClassificationModel,
    start: New | Resumed,
    terminal: Terminal,
    group: Group,
) -> T:
    """Trains, again with smaller batches whenever memory runs out, from the last checkpoint or the beginning.

    A step keeps its images: as a batch gets smaller, it accumulates more. All of several processes start over.

    Args:
        attempt: Trains in the run folder; it writes ``config.yaml`` before its first step.
        run: The run folder.
        plan: What is trained at first.
        model: Its model.
        start: How it starts.
        terminal: Where the line about it goes.
        group: The processes.

    Raises:
        OutOfMemoryError: Memory runs out with batches of one image, or for another reason than their size.
    """
    first = plan.config
    while True:
        try:
            return attempt(plan, model, start)
        except Exception as error:
            if not group.hears_of_shortage(error):
                raise
        has_norm = _learns_statistics(model)
        _free(model)  # before the processes leave their group: DDP holds on to it
        shortage = group.meet_again()
        again = _start_over(run, plan, terminal) if shortage.is_of_batch else None
        if again is None:
            _give_up(run, first, shortage)
        plan, model, start = again
        _report(run, plan, shortage, terminal, has_norm=has_norm)


def _give_up(run: RunFolder, first: Config, shortage: Shortage) -> NoReturn:
    """Ends a training, which a machine with more memory may resume with its own batches."""
    if is_main_process():
        write_text(run.config, to_yaml(first))
    raise BatchMemoryError(shortage.message)


def _start_over(run: RunFolder, plan: Plan, terminal: Terminal) -> tuple[Plan, BaseClassificationModel, Resumed] | None:
    """A plan of smaller batches, from the run's last checkpoint or from its beginning; None: none can be trained on."""
    smaller = with_smaller_batches(plan.config, len(plan.photos.rows["train"]) // plan.place.world_size)
    if smaller is None:
        return None
    try:
        plan = replace(plan, config=smaller)
        start = replace(read_resumed(run.root, [], run.root.parent), config=plan.config)
        plan = plan if start.checkpoint is None else replace(plan, weights=None)
        return plan, build_model(plan, terminal), start
    except UserError:  # such as a BatchNorm that takes no batch of one image
        return None


def with_smaller_batches(config: Config, share: int) -> Config | None:
    """Half the batch and twice as many in a step, or the next smaller fraction that keeps its images.

    Args:
        config: With ``data.batch_size`` as a number.
        share: Training images of each process, of which there may be fewer than a batch has.

    Returns:
        None for batches of one image.
    """
    size = min(config.data.images_per_batch, share)
    if size <= 1:
        return None
    factor = next(number for number in range(2, size + 1) if size % number == 0)
    is_probe = config.recipe.name == "probe"  # which has no steps
    num_accumulated = config.trainer.accumulate_grad_batches * (1 if is_probe else factor)
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"batch_size": size // factor}),
            "trainer": config.trainer.model_copy(update={"accumulate_grad_batches": num_accumulated}),
        }
    )


def advice_on_memory(plan: Plan) -> str:
    """What to lower in a training that needs too much memory."""
    settings, batch_size = plan.config.trainer, plan.config.data.batch_size
    if batch_size == 1:
        advice = f"lower data.image_size (now {plan.preprocessing.image_size}) or choose a smaller model.name"
    else:
        advice = (
            f"lower data.batch_size (now {batch_size}) and raise trainer.accumulate_grad_batches by the same factor"
        )
    return advice + (", or use trainer.precision=bf16-mixed" if settings.precision == "32-true" else "")


def _learns_statistics(model: BaseClassificationModel) -> bool:
    has_norm = any(isinstance(module, _BatchNorm) for module in model.backbone.modules())
    return has_norm and not model.settings.freeze_norm_stats


def _free(model: BaseClassificationModel) -> None:
    """Gives back the memory of a training that has ended, also where the caller still refers to its model."""
    model.trainer, model.distillation = None, None
    model.to("meta")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _report(run: RunFolder, plan: Plan, shortage: Shortage, terminal: Terminal, *, has_norm: bool) -> None:
    """One line about the batches of the plan, on the screen and among the events of the run."""
    data, trainer = plan.config.data, plan.config.trainer
    images = data.images_per_batch * trainer.accumulate_grad_batches * plan.place.world_size
    statistics = "; BatchNorm takes its statistics from the smaller batches" if has_norm else ""
    message = (
        f"{shortage.message.partition('; ')[0]}: starting over with data.batch_size={data.batch_size}"
        f" trainer.accumulate_grad_batches={trainer.accumulate_grad_batches}, the same {images} images in each step"
        f"{statistics}"
    )
    terminal.warn(message)
    note_event(run, message)
