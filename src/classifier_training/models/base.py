"""`BaseClassificationModel`: the one LightningModule, from images to loss, metrics and optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import lightning
import torch
from torch import Tensor

from classifier_training.config.schema import Config
from classifier_training.halving import Halving
from classifier_training.inference.decision import DECISION, Decision
from classifier_training.inference.unknown import UNKNOWN
from classifier_training.metrics.scores import Scores
from classifier_training.metrics.temperature import TEMPERATURE
from classifier_training.models.attention import repeatable_attention
from classifier_training.models.backbone import backbone_preprocessing, create_backbone, head_parameters
from classifier_training.models.device import seed_device
from classifier_training.models.finite import diverged
from classifier_training.models.freeze_backbone import freezing
from classifier_training.models.grad_checkpointing import GradCheckpointing
from classifier_training.models.layer_sync import check_activations, keep_activations_in_sync, norms_with_activation
from classifier_training.models.losses import ClassificationLoss
from classifier_training.models.metrics import ExactMean, RunningMean
from classifier_training.models.optim import build_optimizer, check_optimizer
from classifier_training.models.parameter_groups import parameter_groups
from classifier_training.models.schedule import build_scheduler, note_validation
from classifier_training.models.settings import ModelSettings, read_settings
from classifier_training.models.sharpness import SharpnessAware
from classifier_training.models.steps import num_accumulated, training_length
from classifier_training.models.task import SingleLabelTask, Task
from classifier_training.models.training_checks import check_adjustment, check_class_numbers, check_warmup
from classifier_training.models.unknown import UnknownDetector
from classifier_training.run.processes import gather_by_rank
from classifier_training.seeding import mix_seed
from classifier_training.types import ClassificationBatch, Preprocessing

if TYPE_CHECKING:
    from classifier_training.models.distillation import Distillation


class BaseClassificationModel(lightning.LightningModule):
    """A timm backbone with a classification head.

    Everything needed to build it again is in its hyper-parameters, as plain values, so that a checkpoint loads with
    ``weights_only=True``: ``BaseClassificationModel.load_from_checkpoint("best.ckpt")``.

    Letters: B batch size, S image size, K number of classes.

    Example:
        >>> model = BaseClassificationModel("resnet10t", ["cat", "dog"], image_size=64, settings={"drop_rate": 0.1})
        >>> model(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 2])

    Args:
        backbone: timm model name.
        classes: Class names in class order, or their number K.
        image_size: Input side S, pixels; None: the backbone's own.
        settings: Regularisation, loss, optimizer and schedule; None: the defaults.
        preprocessing: How images were prepared; None: as the backbone's weights were trained.
        class_counts: K training image counts, for logit adjustment.
        class_weights: K weights, for a weighted loss.
        config: In place of ``settings``, a whole configuration, as version 0.1 took it and kept it in checkpoints.
    """

    _sharpness: SharpnessAware | None = None  # of a training that asks for it

    distillation: Distillation | None = None  # what it learns from besides the labels; no part of it

    temperature: float | None = None  # what probabilities divide the logits by, which `forward` gives as they are
    decision: Decision | None = None  # thresholds on these probabilities
    unknown: UnknownDetector | None = None  # how unlike the training images an image is

    def __init__(
        self,
        backbone: str = "resnet18",
        classes: Sequence[str] | int = 1000,
        *,
        image_size: int | None = None,
        settings: ModelSettings | Mapping[str, Any] | None = None,
        preprocessing: Preprocessing | Mapping[str, Any] | None = None,
        class_counts: Sequence[int] | None = None,
        class_weights: Sequence[float] | None = None,
        config: Config | Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.settings = read_settings(settings, config)
        self.classes = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
        given = Preprocessing.from_dict(dict(preprocessing)) if isinstance(preprocessing, Mapping) else preprocessing
        self.preprocessing = given or backbone_preprocessing(backbone, image_size)
        hyperparameters: dict[str, Any] = {
            "backbone": backbone,
            "classes": list(self.classes),
            "image_size": self.preprocessing.image_size,
            "settings": self.settings.model_dump(mode="json"),
            "preprocessing": self.preprocessing.to_dict(),
            "class_counts": None if class_counts is None else list(class_counts),
            "class_weights": None if class_weights is None else list(class_weights),
        }
        self.save_hyperparameters(hyperparameters)
        drop_rates = self.settings.drop_rate, self.settings.drop_path_rate
        self.backbone = create_backbone(backbone, self.num_classes, self.preprocessing.image_size, *drop_rates)
        self._norms_with_activation = norms_with_activation(self.backbone)
        self.task: Task = SingleLabelTask(self.num_classes)
        self.loss = ClassificationLoss(self.settings.loss or self.task.default_loss, class_weights, class_counts)
        self.train_loss = RunningMean()
        self.counts = self.task.build_metrics()
        self.evaluation_loss = ExactMean()
        self.scores: Scores | None = None
        self._step_losses: list[tuple[Tensor, int]] = []  # of batches whose optimizer step is still to come
        self._is_skipped, self._last_lr = False, 0.0
        self._halving = Halving("scoring")
        self._epoch_metrics: dict[str, float] = {}  # of the training part, while the epoch's validation is left

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images float32 (B, 3, S, S) to logits float32 (B, K)."""
        if self.settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        with repeatable_attention(images.device):
            return cast("Tensor", self.backbone(images)).float()

    def training_step(self, batch: ClassificationBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        targets = self.task.encode_targets(batch["labels"])
        loss = self._loss_of(batch["images"], targets)
        self._step_losses.append((loss.detach(), len(targets)))
        if self._grad_scaler is None:
            self._count_losses()
        if self._trainer is None:  # outside of a Trainer nothing is accumulated
            return loss
        if self._sharpness is not None:
            self._seed_step(batch_idx)  # for the second pass
            loss = self._sharpness.uphill_loss(self.backbone, loss, lambda: self._loss_of(batch["images"], targets))
        # Lightning divides the gradients of every optimizer step by the full number of batches
        full, real = self._trainer.accumulate_grad_batches, num_accumulated(self._trainer, batch_idx)
        return loss if real == full else loss * (full / real)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Steps; a step that a gradient scaler skips, as gradients are infinite, counts for no loss and no schedule."""
        scaler = self._grad_scaler
        if scaler is None:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            return
        # before the first step the scale is a number, which is asked for without waiting
        before = scaler.get_scale() if scaler._scale is None else scaler._scale.clone()
        stepped: list[bool] = []
        torch_optimizer = getattr(optimizer, "optimizer", optimizer)
        handle = torch_optimizer.register_step_post_hook(lambda *_: stepped.append(True))
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        handle.remove()
        self._is_skipped = not stepped  # a fused optimizer is called all the same, and skips on the device
        # a skipped step lowers the scale; the device compares, so that the host need not wait for it
        self._count_losses(None if scaler._scale is None else scaler._scale < before)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Steps the schedule, unless the optimizer has not."""
        if not self._is_skipped:
            super().lr_scheduler_step(scheduler, metric)

    def validation_step(self, batch: ClassificationBatch, batch_idx: int) -> dict[str, Tensor]:
        """Counts one validation batch; gives its ``logits`` float32 (B, K) to the callbacks."""
        return self._evaluation_step(batch)

    def test_step(self, batch: ClassificationBatch, batch_idx: int) -> dict[str, Tensor]:
        """Counts one test batch; gives its ``logits`` float32 (B, K) to the callbacks."""
        return self._evaluation_step(batch)

    def predict_step(self, batch: ClassificationBatch, batch_idx: int) -> Tensor:
        """Logits float32 (B, K) of one batch."""
        return cast("Tensor", self(batch["images"]))

    def setup(self, stage: str) -> None:
        """Chooses the memory format and how BatchNorm is converted, before the model is shared among devices.

        torch's ``DistributedDataParallel`` lays out its buffers like the weights that it is given: were their format
        changed after that, it would hand out the gradients of its first step, or of all steps where it looks for
        unused parameters, in the wrong order.

        Raises:
            ConfigError: The backbone has lost activations to a converter.
        """
        check_activations(self.backbone, self._norms_with_activation)
        keep_activations_in_sync(self.trainer)
        self.use_memory_format()

    def on_fit_start(self) -> None:
        """Compiles, once the weights are on their device."""
        if self.settings.compile:
            self.backbone.compile()

    def use_memory_format(self) -> None:
        """Lays the weights out as configured; the same layout gives the same bits in every process."""
        if self.settings.channels_last:
            self.backbone.to(memory_format=torch.channels_last)

    def on_train_epoch_start(self) -> None:
        """Starts the mean of the training loss."""
        self.train_loss.reset()
        self._step_losses = []

    def on_train_batch_start(self, batch: ClassificationBatch, batch_idx: int) -> None:
        """Seeds dropout and the like, so that a resumed run equals the uninterrupted one; notes the learning rate."""
        self._seed_step(batch_idx)
        if self.trainer.is_last_batch:  # at the batch's end the schedule has moved on to the next step's rate
            rates = [group["lr"] for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
            self._last_lr = max(rates)

    def on_train_batch_end(self, outputs: Any, batch: ClassificationBatch, batch_idx: int) -> None:
        """Logs what is known once an epoch, while checkpoints and loggers can still see it."""
        if not self.trainer.is_last_batch:
            return
        loss = self.train_loss.compute()
        if not torch.isfinite(loss):
            raise diverged(f"the loss of this epoch is {loss.item()}", self)
        self._epoch_metrics = {"train/loss": loss.item(), "lr": self._last_lr}
        self._log_epoch_metrics()

    def on_train_epoch_end(self) -> None:
        """Drops what a checkpoint of a finished epoch does not need."""
        self._epoch_metrics = {}

    def on_validation_epoch_start(self) -> None:
        """Lets all ranks score the same model."""
        self._share_buffers()

    def on_test_epoch_start(self) -> None:
        """Lets all ranks score the same model."""
        self._share_buffers()

    def on_validation_epoch_end(self) -> None:
        """Logs the validation scores; the learning rate may depend on their loss."""
        note_validation(self.trainer, self._log_scores("val"))

    def on_test_epoch_end(self) -> None:
        """Logs the test scores."""
        self._log_scores("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the running training loss, so that a resumed epoch reports the same one."""
        checkpoint["train_loss"] = gather_by_rank([self.train_loss.mean_value.item(), self.train_loss.weight.item()])
        checkpoint["epoch_metrics"] = dict(self._epoch_metrics)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores the running training loss, and the temperature and thresholds of a finished one."""
        self.temperature = checkpoint.get(TEMPERATURE)
        self.decision = Decision.from_dict(checkpoint[DECISION]) if DECISION in checkpoint else None
        self.unknown = UnknownDetector.from_values(checkpoint[UNKNOWN]) if UNKNOWN in checkpoint else None
        self._restored_train_loss = cast("list[list[float]] | None", checkpoint.get("train_loss"))
        self._epoch_metrics = checkpoint.get("epoch_metrics", {})

    def on_train_start(self) -> None:
        """Puts a resumed epoch where it was: Lightning has reset its metrics, and does not start this epoch again."""
        restored = getattr(self, "_restored_train_loss", None)
        if restored is not None:
            if len(restored) != self.trainer.world_size:  # on other devices than before: the first one has the sums
                restored = [[sum(parts) for parts in zip(*restored, strict=True)]]
                restored += [[0.0, 0.0]] * (self.trainer.world_size - 1)
            mean, weight = restored[self.global_rank]
            self.train_loss.mean_value.fill_(mean)
            self.train_loss.weight.fill_(weight)
            self.train_loss._update_count = int(weight > 0)
            self._restored_train_loss = None
        self._log_epoch_metrics()  # none, unless only the validation of this epoch is left

    def configure_callbacks(self) -> list[lightning.Callback]:
        """What the model's settings ask for, in any Trainer; a callback of the trainer's own may freeze instead."""
        settings, present = self.settings, cast("Any", self.trainer).callbacks
        rho = settings.optimizer.sam_rho
        self._sharpness = None if rho is None else SharpnessAware(rho)
        of_step = [self._sharpness, GradCheckpointing() if settings.grad_checkpointing else None]
        freezing_ones = freezing(
            settings.freeze_epochs, settings.freeze_norm_stats, present, stages=settings.freeze_stages
        )
        return [*freezing_ones, *(callback for callback in of_step if callback is not None)]

    def configure_optimizers(self) -> Any:
        """The configured optimizer, and its schedule stepped once an optimizer step."""
        settings = self.settings
        scale = settings.optimizer.backbone_lr_scale or 1.0
        groups = parameter_groups(self.backbone, head_parameters(self.backbone), settings.optimizer, scale)
        optimizer = build_optimizer(groups, settings.optimizer, is_mixed="mixed" in str(self.trainer.precision))
        total_steps, max_epochs = training_length(self.trainer)
        if self.trainer.ckpt_path is None and not cast("Any", self.trainer).fast_dev_run:
            self._check_training(max_epochs)
        scheduler = build_scheduler(optimizer, settings.scheduler, total_steps=total_steps, max_epochs=max_epochs)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _loss_of(self, images: Tensor, targets: Tensor) -> Tensor:
        logits = self(images)
        loss = cast("Tensor", self.loss(logits, targets))
        return loss if self.distillation is None else self.distillation.add_to(loss, logits, images)

    def _seed_step(self, batch_idx: int) -> None:
        seed_device(self.device, mix_seed(self.settings.seed, self.current_epoch, batch_idx, self.global_rank))

    def _check_training(self, max_epochs: float) -> None:
        """Refuses what a new training cannot do; one that was begun like this is finished."""
        weights, counts = self.hparams["class_weights"], self.hparams["class_counts"]
        check_warmup(self.settings.scheduler, max_epochs)
        check_optimizer(self.settings.optimizer, str(self.trainer.precision))
        check_class_numbers(self.num_classes, weights, counts)
        if counts is not None:
            check_adjustment(self.loss.config)

    def _log_epoch_metrics(self) -> None:
        for name, value in self._epoch_metrics.items():
            self.log(name, value, on_step=False, on_epoch=True, batch_size=1, prog_bar=name == "train/loss")

    @property
    def _grad_scaler(self) -> torch.amp.GradScaler | None:
        """The gradient scaler of half precision, which skips steps."""
        plugin = None if self._trainer is None else self._trainer.precision_plugin
        return cast("torch.amp.GradScaler | None", getattr(plugin, "scaler", None))

    def _count_losses(self, is_skipped: Tensor | None = None) -> None:
        for loss, weight in self._step_losses:
            self.train_loss.update(loss, weight, is_skipped)
        self._step_losses = []

    def _evaluation_step(self, batch: ClassificationBatch) -> dict[str, Tensor]:
        images, targets = batch["images"], self.task.encode_targets(batch["labels"])
        parts = self._halving(lambda part: cast("Tensor", self(images[part])), len(images))
        logits = parts[0] if len(parts) == 1 else torch.cat(parts)
        self.counts.update(logits, self.task.predict(logits), targets)
        self.evaluation_loss.update(self.loss.evaluate(logits, targets))
        return {"logits": logits}

    def _share_buffers(self) -> None:
        """Gives every rank the buffers of rank 0, whose weights are saved: BatchNorm counts on each rank for itself."""
        if self.trainer.world_size > 1:
            for buffer in self.backbone.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def _log_scores(self, stage: Literal["val", "test"]) -> Tensor:
        self.scores = self.counts.compute()
        loss = self.evaluation_loss.compute()
        self.counts.reset()
        self.evaluation_loss.reset()
        if not torch.isfinite(loss):
            where = "validation" if stage == "val" else stage
            raise diverged(f"the {where} loss is {loss.item()}, as logits are not finite numbers", self)
        # float64, so that the logged number is the one that any other reader of the counts gets
        scores = {name: torch.tensor(value, dtype=torch.float64) for name, value in self.scores.by_name().items()}
        for name, value in {"loss": loss, **scores}.items():
            # not synchronised: all ranks have it already, and the mean of equal numbers would round
            self.log(f"{stage}/{name}", value, on_epoch=True, batch_size=1, prog_bar=name == "top1")
        return loss
