"""Whether a batch of a model fits into the memory of its device, found out by one forward and backward pass."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from classifier_training.models.base import BaseClassificationModel


def try_batch(
    model: BaseClassificationModel,
    batch_size: int,
    precision: AbstractContextManager[object] | None = None,
    image_size: int | None = None,
) -> None:
    """Computes the gradients of all weights from a batch of zeros, and leaves the model and all random state as it was.

    The memory that an optimizer of two moments needs is held meanwhile. BatchNorm uses its running statistics: it then
    changes none, and does not wait for other processes.

    Args:
        model: On its device.
        batch_size: B.
        precision: The arithmetic, such as autocast; None: that of the weights.
        image_size: Side S of the images where it is larger than that of the model's preprocessing.

    Raises:
        Exception: Whatever is raised where memory runs out, see `is_out_of_memory`.
    """
    device, size = model.device, max(model.preprocessing.image_size, image_size or 0)
    parameters = list(model.parameters())
    with ExitStack() as undo:
        undo.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        undo.enter_context(torch.enable_grad())
        undo.enter_context(precision or nullcontext())
        _use_running_statistics(model, undo)
        for parameter in parameters:
            undo.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(parameter.is_floating_point())
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        images = torch.zeros(batch_size, 3, size, size, device=device)
        labels = torch.zeros(batch_size, dtype=torch.int64, device=device)
        moments = [torch.empty_like(parameter) for parameter in learned for _ in range(2)]
        loss: Tensor = model.loss(model(images), labels)
        # not backward(), which would call what other processes wait for
        gradients = torch.autograd.grad(loss, learned, allow_unused=True)
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()
        del gradients, moments


def _use_running_statistics(model: nn.Module, undo: ExitStack) -> None:
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.training:
            module.eval()
            undo.callback(module.train)
