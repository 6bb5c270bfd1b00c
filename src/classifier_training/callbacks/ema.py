"""The exponential moving average (EMA) of the weights, which is what gets scored, tested and saved."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from typing_extensions import override

from classifier_training.errors import ClassifierTrainingError, ConfigError
from classifier_training.models.weight_average import WeightAverage

TRAINING_STATE_KEY = "training_state_dict"
"""Where a checkpoint keeps the weights that training resumes from, in the form of its ``state_dict``."""

PRECISE_AVERAGE_KEY = "ema_float32"
"""Where a checkpoint of a half precision module keeps its average unrounded, by the weights' names."""


class EMACallback(pl.Callback):
    r"""Keeps an exponential moving average of the weights and lets validation, test and checkpoints use it.

    After optimizer step number $t$ since the end of the warm-up, $t = 1, 2, …$, with the weights $w_t$:

    $$a_t = d_t\, a_{t-1} + (1 - d_t)\, w_t, \qquad d_t = \min\left(d, \frac{1 + t}{10 + t}\right)$$

    During the warm-up the average equals the weights as of the last optimizer step. Averaged are the floating-point
    parameters and persistent buffers; everything else in the ``state_dict`` (BatchNorm's counters, a mask with
    infinities) is the model's own. Weights of less than 32 bits are averaged in float32, because a step of 1 - d
    would be rounded away.

    A step is counted when the optimizer really stepped: not for a batch that only accumulates gradients, nor for
    one that the gradient scaler skipped. A batch in which several steps were made (several optimizers, manual
    optimization) counts once.

    The average takes the place of the weights during validation, test and prediction by an exchange of memory, not
    by copying; after ``fit`` the module holds the training weights. When a checkpoint was loaded into the module
    after ``fit``, by ``trainer.test(ckpt_path=…)`` or by hand, those weights are scored as they are.

    A checkpoint holds the average as its ``state_dict`` and the training weights as its ``training_state_dict``;
    ``trainer.fit(ckpt_path=…)`` restores both. Every rank of data-parallel training keeps the same average.

    Args:
        decay: The upper bound $d$ of the decay, in [0, 1).
        warmup_steps: Optimizer steps during which the average equals the weights.

    Raises:
        ConfigError: An argument is out of its range; at the start of ``fit``: the strategy shards the weights, an
            optimizer is not torch's, or a ``ModelCheckpoint`` has ``save_weights_only=True``.

    Example:
        >>> trainer = pl.Trainer(callbacks=[EMACallback(decay=0.999)])
    """

    def __init__(self, decay: float = 0.9999, warmup_steps: int = 0) -> None:
        if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0.0 <= decay < 1.0:
            raise ConfigError(f"EMACallback(decay={decay!r}): decay must be a number with 0 <= decay < 1")
        if isinstance(warmup_steps, bool) or not isinstance(warmup_steps, int) or warmup_steps < 0:
            raise ConfigError(f"EMACallback(warmup_steps={warmup_steps!r}): warmup_steps must be a whole number >= 0")
        self.decay = decay
        self.warmup_steps = warmup_steps
        self._num_steps = 0
        self._stepped = False
        self._average: WeightAverage | None = None
        self._weights_after_fit: list[tuple[int, int]] | None = None  # None while fit runs
        self._evaluates_only = False
        self._handles: list[RemovableHandle] = []

    @property
    def ema_state_dict(self) -> dict[str, Any]:
        """A copy of the averaged weights, with the keys of the module's ``state_dict()``.

        Raises:
            ClassifierTrainingError: The average does not exist before ``trainer.fit`` has set up the module.
        """
        if self._average is None:
            raise ClassifierTrainingError("EMACallback has no average yet: it starts with trainer.fit")
        state = self._average.averaged_state_dict()
        for key, value in state.items():
            if isinstance(value, Tensor):
                state[key] = value.clone()
        return state

    # -- life of the average -------------------------------------------------------------------------------------

    @override
    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._evaluates_only = stage != "fit"
        if self._evaluates_only:
            return
        _check_trainer(trainer)
        if not self._is_average_of(pl_module):
            self._average, self._num_steps = None, 0
        self._weights_after_fit = None

    @override
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Callbacks are restored before this hook: an average from a checkpoint exists already.
        if self._average is None:
            self._average = WeightAverage(pl_module)

    @override
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._average is not None:
            self._average.match_weights()
        self._stepped = False
        self._remove_handles()
        for optimizer in trainer.optimizers:
            if not isinstance(optimizer, torch.optim.Optimizer):
                raise ConfigError(
                    f"EMACallback counts the steps of torch optimizers; configure_optimizers returned a"
                    f" {type(optimizer).__name__}, which is none"
                )
            self._handles.append(optimizer.register_step_post_hook(self._note_step))

    @override
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._average is not None:
            self._average.match_weights()

    def _note_step(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        # The gradient scaler calls a fused optimizer in any case; the optimizer itself skips the step then.
        if not bool(getattr(optimizer, "found_inf", False)):
            self._stepped = True

    @override
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._stepped or self._average is None:
            return
        self._stepped = False
        self._num_steps += 1
        t = self._num_steps - self.warmup_steps
        self._average.update(min(self.decay, (1 + t) / (10 + t)) if t > 0 else 0.0)

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._remove_handles()

    @override
    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._end(pl_module)

    @override
    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._end(pl_module)
        if self._average is not None and self._average.module is pl_module:
            self._average.match_weights()

    def _end(self, pl_module: pl.LightningModule) -> None:
        """Leaves the module with its training weights, however the run ended, and remembers which they are."""
        self._remove_handles()
        if self._average is not None:
            self._average.swap_out()
            if self._weights_after_fit is None:
                self._weights_after_fit = _versions(pl_module)
        self._evaluates_only = False

    def _remove_handles(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _is_average_of(self, pl_module: pl.LightningModule) -> bool:
        """Whether the average is that of the weights in ``pl_module``, which may have been replaced after fit."""
        return (
            self._average is not None
            and self._average.module is pl_module
            and self._weights_after_fit in (None, _versions(pl_module))
        )

    # -- evaluation ----------------------------------------------------------------------------------------------

    def _swap_in(self, pl_module: pl.LightningModule) -> None:
        if self._average is not None and self._is_average_of(pl_module):
            self._average.swap_in()

    def _swap_out(self) -> None:
        if self._average is not None:
            self._average.swap_out()

    @override
    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap_in(pl_module)

    @override
    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap_out()

    @override
    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap_in(pl_module)

    @override
    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap_out()

    @override
    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap_in(pl_module)

    @override
    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._swap_out()

    # -- checkpoints ---------------------------------------------------------------------------------------------

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"num_steps": self._num_steps}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # A checkpoint that is only scored is not the state of this average.
        if not self._evaluates_only:
            self._num_steps = state_dict["num_steps"]

    @override
    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._average is None or not self._is_average_of(pl_module):
            return
        checkpoint["state_dict"] = self._average.averaged_state_dict()
        checkpoint[TRAINING_STATE_KEY] = self._average.training_state_dict()
        if precise := self._average.precise_tensors():
            checkpoint[PRECISE_AVERAGE_KEY] = precise

    @override
    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        # Lightning has just loaded the checkpoint's state_dict, the average, into the module.
        self._average = WeightAverage(pl_module)
        self._num_steps = 0
        if TRAINING_STATE_KEY not in checkpoint:
            rank_zero_warn(
                "The checkpoint was saved without EMACallback: training and the average both start from its state_dict."
            )
            return
        self._average.load_precise_tensors(checkpoint.get(PRECISE_AVERAGE_KEY, {}))
        pl_module.load_state_dict(checkpoint[TRAINING_STATE_KEY], strict=pl_module.strict_loading)


def _versions(module: nn.Module) -> list[tuple[int, int]]:
    """Identifies the values in the parameters: writing in place changes the version, moving to a device does not."""
    return [(id(parameter), parameter._version) for parameter in module.parameters()]


def _check_trainer(trainer: pl.Trainer) -> None:
    """Refuses what would make the average, or the checkpoints, silently wrong."""
    if isinstance(trainer.strategy, FSDPStrategy | DeepSpeedStrategy | ModelParallelStrategy):
        raise ConfigError(
            f"EMACallback cannot average weights that are sharded between processes, and the strategy is"
            f" {type(trainer.strategy).__name__}; use strategy='ddp', or train without EMACallback"
        )
    for callback in trainer.checkpoint_callbacks:
        if getattr(callback, "save_weights_only", False):
            raise ConfigError(
                f"{type(callback).__name__}(save_weights_only=True) saves weights other than those that EMACallback let"
                f" validation score, because Lightning asks no callback then; use save_weights_only=False"
            )
