"""Writes the trained classifier as a proven ONNX file when training ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from classifier_training.errors import ConfigError
from classifier_training.exporters.forms import ExportSettings, ProofImages
from classifier_training.exporters.loader_images import first_images
from classifier_training.exporters.onnx import FORM
from classifier_training.exporters.scored_model import scored_model
from classifier_training.exporters.verified import export_verified
from classifier_training.inference.card import DeploymentCard
from classifier_training.run.folder import ExportFolder
from classifier_training.types import Exporter, Preprocessing

_NUM_IMAGES = 16


class ONNXExportCallback(lightning.Callback):
    """Exports the best weights to ``model.onnx`` at the end of ``fit`` and proves that the file answers like them.

    The weights are those of the best checkpoint, if the trainer has a checkpoint callback; else the average of an
    `EMACallback`; else the module's own. Which they were is logged, and recorded in ``verification.json``, with the
    figures of a comparison between onnxruntime and PyTorch on validation images. If the comparison fails, an error is
    raised and no ``model.onnx`` is left. A data module with ``classes`` and ``preprocessing``, like
    `ImageFolderDataModule`, adds ``labels_mapping.json``. The module itself, its device and its mode stay as they are.

    ``forward`` must map images (N, 3, H, W) to logits (N, K). Nothing is exported after ``fast_dev_run`` or when
    ``fit`` ends with an exception.

    Args:
        output_dir: Folder of the files; like the folders of Lightning's own callbacks, relative to the current one.
        opset_version: ONNX operator set, 13 to 20 (``torchscript``) or 18 to 23 (``dynamo``).
        input_height: H, pixels.
        input_width: W, pixels.
        exporter: PyTorch's exporter, ``torchscript`` or ``dynamo``.
        tolerance: Largest allowed absolute difference of a logit.

    Attributes:
        path: Where the model is written.
        figures: What ``verification.json`` holds; None before the export.

    Raises:
        ConfigError: An argument is of the wrong type or out of range.

    Example:
        >>> callback = ONNXExportCallback("onnx", input_height=64, input_width=64)
        >>> trainer = lightning.Trainer(callbacks=[callback], accelerator="cpu", logger=False)
    """

    def __init__(
        self,
        output_dir: str | Path = "onnx",
        opset_version: int = 18,
        input_height: int = 224,
        input_width: int = 224,
        exporter: Exporter = "torchscript",
        tolerance: float = 1e-3,
    ) -> None:
        super().__init__()
        _check("output_dir", output_dir, isinstance(output_dir, str | Path), "a folder")
        for name, side in (("input_height", input_height), ("input_width", input_width)):
            is_int = isinstance(side, int) and not isinstance(side, bool)
            _check(name, side, is_int and side > 0, "a positive number of pixels")
        self.settings = ExportSettings(exporter, opset_version, tolerance)
        self.exporter, self.opset_version, self.tolerance = exporter, opset_version, tolerance
        self.path = ExportFolder(Path(output_dir)).model(FORM.name)
        self.input_height = input_height
        self.input_width = input_width
        self.figures: dict[str, Any] | None = None

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Refuses a module without ``forward`` before hours are spent on training it."""
        has_forward = type(pl_module).forward is not lightning.LightningModule.forward or "forward" in vars(pl_module)
        if stage == "fit" and not has_forward:
            raise ConfigError(
                f"ONNXExportCallback exports forward, which {type(pl_module).__name__} does not define; define"
                " forward to return logits (N, K) for images (N, 3, H, W)"
            )

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Refuses an input size that the data module does not prepare."""
        card = _card(trainer)
        if card is not None and {self.input_height, self.input_width} != {card.preprocessing.image_size}:
            size = card.preprocessing.image_size
            raise ConfigError(
                f"ONNXExportCallback is to export an input of {self._size}, but the data module prepares images of"
                f" {size} x {size} pixels; set input_height={size}, input_width={size}"
            )

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Exports, on the first rank only."""
        if not trainer.is_global_zero:
            return
        if getattr(trainer, "fast_dev_run", False):
            rank_zero_info("ONNXExportCallback: nothing is exported after fast_dev_run")
            return
        model, weights = scored_model(trainer, pl_module)
        images, images_from = self._images(trainer, pl_module)
        card = _card(trainer)
        if card is None:
            rank_zero_info(
                "ONNXExportCallback: labels_mapping.json is left out, because the trainer has no data module with"
                " `classes` and `preprocessing`"
            )
        self.figures = export_verified(
            model,
            ExportFolder(self.path.parent),
            ProofImages(images),
            FORM,
            self.settings,
            card=card,
            record={"weights": weights, "images": images_from},
        )
        rank_zero_info(
            f"ONNXExportCallback: wrote {self.path}; largest difference of a logit from PyTorch"
            f" {self.figures['max_abs_logit_difference']:.2g} on {len(images)} {images_from}"
        )

    @property
    def _size(self) -> str:
        return f"{self.input_height} x {self.input_width} pixels"

    def _images(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> tuple[Tensor, str]:
        """Images to compare on, float32 (n, 3, H, W), and what they are."""
        hooks = getattr(trainer, "datamodule", None) or pl_module  # the choice that a Trainer makes
        for name, loaders in (
            ("validation images", trainer.val_dataloaders),
            ("training images", trainer.train_dataloader),
        ):
            images = _read(name, loaders, lambda batch: hooks.on_after_batch_transfer(batch, 0))
            if images is not None:
                return self._resized(images, name), name
        rank_zero_warn(
            "ONNXExportCallback: no data loader yields a floating-point tensor (N, 3, H, W); the exported file is"
            " compared on random images"
        )
        generator = torch.Generator().manual_seed(0)
        return torch.randn(_NUM_IMAGES, 3, self.input_height, self.input_width, generator=generator), "random images"

    def _resized(self, images: Tensor, name: str) -> Tensor:
        height, width = images.shape[-2:]
        if (height, width) == (self.input_height, self.input_width):
            return images
        rank_zero_warn(
            f"ONNXExportCallback: the {name} are {height} x {width} pixels, but the exported input is {self._size}; if"
            f" that is not meant, set input_height={height}, input_width={width}"
        )
        return nn.functional.interpolate(images, (self.input_height, self.input_width), mode="bilinear", antialias=True)


def _read(name: str, loaders: Any, prepare: Callable[[Any], Any]) -> Tensor | None:
    """The first images of the loaders; an error in them is a warning, so that the trained model is not lost."""
    try:
        with isolate_rng():
            return first_images(loaders, _NUM_IMAGES, prepare)
    except Exception as error:  # the user's own dataset
        rank_zero_warn(f"ONNXExportCallback: the {name} cannot be read again: {type(error).__name__}: {error}")
        return None


def _card(trainer: lightning.Trainer) -> DeploymentCard | None:
    """Class names and preprocessing, from a data module that has them."""
    datamodule = getattr(trainer, "datamodule", None)
    classes, preprocessing = getattr(datamodule, "classes", None), getattr(datamodule, "preprocessing", None)
    if not isinstance(preprocessing, Preprocessing) or not isinstance(classes, list | tuple):
        return None
    return DeploymentCard(tuple(map(str, classes)), preprocessing)


def _check(name: str, value: object, is_valid: bool, allowed: str) -> None:
    if not is_valid:
        raise ConfigError(f"ONNXExportCallback: {name} must be {allowed}; got {value!r}")
