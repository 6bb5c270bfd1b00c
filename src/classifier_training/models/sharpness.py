"""Sharpness-aware minimisation (SAM): the gradient is taken where the loss is highest nearby."""

from __future__ import annotations

from collections.abc import Callable

import lightning
import torch
from torch import Tensor, nn

from classifier_training.models.norm_statistics import uncounted


class SharpnessAware(lightning.Callback):
    r"""Lets each batch give its gradient at weights that were moved uphill by ``rho``.

    With the gradient $g$ of the batch at the weights $w$, the step is made with the gradient at

    $$w + \rho\, \frac{g}{\lVert g \rVert_2}$$

    (Foret et al. 2021, "Sharpness-Aware Minimization for Efficiently Improving Generalization", arXiv 2010.01412).
    Each batch is moved by its own gradient: also each of those whose gradients are added up, and that of each device,
    as in the paper. The second pass repeats dropout and stochastic depth of the first, and BatchNorm does not count it.

    Args:
        rho: Distance, in the norm of all weights together.
    """

    def __init__(self, rho: float) -> None:
        super().__init__()
        self.rho = rho
        self._moved: list[tuple[nn.Parameter, Tensor]] = []  # weights, and what they were

    def uphill_loss(self, backbone: nn.Module, loss: Tensor, compute_loss: Callable[[], Tensor]) -> Tensor:
        """The loss at the moved weights, which stay so until its backward pass is over.

        Args:
            backbone: The model.
            loss: Of the batch at the present weights.
            compute_loss: Computes it once more.
        """
        self.restore()
        weights = [weight for weight in backbone.parameters() if weight.requires_grad]
        with uncounted(backbone):  # here activations may be computed again
            found = torch.autograd.grad(loss, weights, allow_unused=True)
        pairs = [(weight, gradient) for weight, gradient in zip(weights, found, strict=True) if gradient is not None]
        if not pairs:
            return loss
        gradients = [gradient.float() for _, gradient in pairs]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        steps = torch._foreach_mul(gradients, self.rho / (norm + 1e-12))
        self._moved = [(weight, weight.detach().clone()) for weight, _ in pairs]
        with torch.no_grad():
            torch._foreach_add_([weight for weight, _ in pairs], steps)
        torch.clear_autocast_cache()  # it holds the weights of before in half precision
        with uncounted(backbone):
            return compute_loss()

    def restore(self) -> None:
        """Puts the weights back, to the bit."""
        with torch.no_grad():
            for weight, before in self._moved:
                weight.copy_(before)
        self._moved = []

    def on_after_backward(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """The gradient of the moved weights is there."""
        self.restore()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Leaves the weights as they were."""
        self.restore()
