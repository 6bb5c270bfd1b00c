"""The teacher's own score on the validation images, before it teaches: what its student is compared with."""

from __future__ import annotations

import copy

import torch

from classifier_training.data.loading.failures import explain_loader_failures
from classifier_training.evaluation.checkpoint import model_logits, scoring_loader
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.folder import RunFolder
from classifier_training.run.records import write_record
from classifier_training.run.teacher_scores import TeacherScores
from classifier_training.run.time_spent import time_spent_on
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.group import Group
from classifier_training.training.plan import Plan
from classifier_training.warn import warn_instead_of_raise


def score_teacher(
    run: RunFolder, plan: Plan, model: BaseClassificationModel, group: Group, terminal: Terminal, device: torch.device
) -> None:
    """Scores the teacher of a new training, if it has one; a failure is a warning.

    The first process does, and the others wait: every process of a training must call this.

    Args:
        run: Gets ``teacher.json``.
        plan: What is trained.
        model: With its teacher.
        group: The processes.
        terminal: Where the score is printed.
        device: Where to compute.
    """
    distillation = model.distillation
    if distillation is None:
        return

    def score() -> str:
        if not run.teacher.is_file():
            with warn_instead_of_raise(run.teacher.name), time_spent_on(run, "teacher"):
                found = _score(copy.deepcopy(distillation.teacher), plan, terminal, device)
                write_record(run.teacher, found)
                terminal.info(f"teacher: val/loss {found.log_loss:.4f}, val/top1 {found.top1:.4f}")
        return "scored"

    group.share("teacher", score)


@torch.inference_mode()
def _score(teacher: BaseClassificationModel, plan: Plan, terminal: Terminal, device: torch.device) -> TeacherScores:
    """Scores a copy of the teacher, as its weights are in another place and layout afterwards."""
    photos, loss, num_correct, num_done = plan.photos, 0.0, 0, 0
    records, labels = photos.records("val"), photos.labels("val")
    order = torch.tensor([teacher.classes.index(name) for name in photos.classes], device=device)
    with (
        torch.random.fork_rng([]),
        explain_loader_failures(),
        terminal.progress("scoring the teacher", "images") as progress,
    ):
        batches = scoring_loader(records, labels, teacher.preprocessing, plan.config)
        for logits, batch_labels in model_logits(teacher, batches, device, "float32", teacher.preprocessing):
            ordered, truth = logits.index_select(1, order).double(), batch_labels.to(device)
            loss += torch.nn.functional.cross_entropy(ordered, truth, reduction="sum").item()
            num_correct += int((ordered.argmax(dim=1) == truth).sum())
            num_done += len(truth)
            progress(num_done, len(records))
    return TeacherScores(top1=num_correct / num_done, log_loss=loss / num_done, num_images=num_done)
