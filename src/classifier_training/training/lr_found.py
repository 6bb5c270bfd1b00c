"""A plan whose learning rate is found before its training, by its first process for all."""

from __future__ import annotations

from dataclasses import replace

import torch

from classifier_training.config.schema import OptimizerConfig
from classifier_training.errors import is_out_of_memory
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.events import note_event
from classifier_training.run.folder import RunFolder
from classifier_training.run.processes import is_main_process
from classifier_training.run.time_spent import time_spent_on
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.group import Group
from classifier_training.training.model import build_model
from classifier_training.training.plan import Plan
from classifier_training.training.start import create_run_folder


def with_lr_found(
    run: RunFolder, plan: Plan, model: BaseClassificationModel, terminal: Terminal, group: Group
) -> tuple[Plan, BaseClassificationModel]:
    """The plan with a number as its learning rate, and its model, as if that number had been given.

    Where it is given, both are returned as they are. The model is built again, with all random numbers, so that the
    range test leaves no trace in the training.
    """
    if plan.config.optimizer.lr != "find":
        return plan, model
    if is_main_process():
        create_run_folder(run, plan, None)  # a run that is stopped in the range test can be resumed

    def find() -> str:
        from classifier_training.training.lr_range import find_lr

        try:
            with time_spent_on(run, "lr_range"):
                return repr(find_lr(run, plan, model, torch.device(plan.accelerator), terminal))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        default = OptimizerConfig().peak_lr
        message = f"optimizer.lr=find: memory ran out in the range test; the default {default:g} is taken"
        terminal.warn(message)
        note_event(run, message)
        return repr(default)

    optimizer = plan.config.optimizer.model_copy(update={"lr": float(group.share("lr", find))})
    plan = replace(plan, config=plan.config.model_copy(update={"optimizer": optimizer}))
    return plan, build_model(plan, Terminal(silent=True))
