"""A training that starts from the probe: its head, and the weights to compare with at the end."""

from __future__ import annotations

import torch

from classifier_training.callbacks.accuracy_forecast import forecast_from_probe
from classifier_training.config.probe import is_probe
from classifier_training.errors import ModelError
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.checkpoint import write_checkpoint
from classifier_training.models.head_features import linear_classifier
from classifier_training.results.final_choice import IS_PROBE
from classifier_training.run.events import note_event
from classifier_training.run.folder import RunFolder
from classifier_training.run.processes import is_main_process
from classifier_training.run.time_spent import keep_first_forecast
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.group import Group
from classifier_training.training.plan import Plan
from classifier_training.training.probe import start_from_probe


def begin_with_probe(
    run: RunFolder, plan: Plan, model: BaseClassificationModel, group: Group, terminal: Terminal, device: torch.device
) -> None:
    """Fits the head of a new training that is a probe, or starts from one where the model can.

    The probe is kept as ``probe.ckpt``, one of the candidates for the final weights; its validation scores are those
    of epoch 0. Every process of a training must call this.

    Args:
        run: Its folder.
        plan: What will be trained.
        model: Gets the head.
        group: The processes.
        terminal: Where the scores are printed.
        device: Where to compute.
    """
    if is_probe(plan.config):
        start_from_probe(run, plan, model, group, terminal, device)
        return
    if not plan.config.recipe.start_from_probe:
        return
    reason = why_no_probe(plan, model)
    if reason is not None:
        message = f"recipe.start_from_probe=true: the head starts from zero instead, as {reason}"
        terminal.warn(message)
        note_event(run, message)
        return
    record = start_from_probe(run, plan, model, group, terminal, device, with_val=True)
    if not is_main_process():
        return
    state = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    content = {"state_dict": state, "hyper_parameters": dict(model.hparams), "epoch": 0, "global_step": 0}
    content[IS_PROBE] = True
    write_checkpoint(content, run.probe_checkpoint)
    if record.val is not None:
        terminal.info(f"epoch 0, the probe: val/loss {record.val.log_loss:.4f}, val/top1 {record.val.top1:.4f}")
        if plan.time is not None:
            max_epochs, num_images = plan.config.trainer.max_epochs, len(plan.photos.rows["val"])
            known, line = forecast_from_probe(plan.time, max_epochs, num_images, record.val.top1)
            terminal.info(line)
            keep_first_forecast(run, *known)


def why_no_probe(plan: Plan, model: BaseClassificationModel) -> str | None:
    """Why the head of a training starts from zero, although the settings let it start as the probe; None: it does."""
    if not plan.weights:
        return "there are no pretrained weights, on whose features it would be fitted"
    try:
        classifier = linear_classifier(model.backbone, model.preprocessing.image_size, plan.config.model.name)
    except ModelError:
        return f"the head of {plan.config.model.name} is not one linear layer"
    return f"the head of {plan.config.model.name} has no bias" if classifier.bias is None else None
