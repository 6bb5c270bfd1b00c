"""Warnings about the image caches of a run, from every process."""

from __future__ import annotations

import warnings
from typing import Any

import lightning


class CacheWarnings(lightning.Callback):
    """Warns at the end of an epoch of images that were damaged or could not be stored; training continues without them.

    Without an `ImageFolderDataModule` in the trainer there are no caches and no warnings.
    """

    def __init__(self) -> None:
        super().__init__()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Issues the warnings that the caches collected since the last epoch."""
        caches: Any = getattr(getattr(trainer, "datamodule", None), "caches", None)
        for message in caches.new_warnings() if caches is not None else ():
            warnings.warn(message, stacklevel=2)
