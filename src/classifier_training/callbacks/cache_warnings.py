"""Says what went wrong with the image caches of a run, in whichever process it happened."""

from __future__ import annotations

import warnings
from typing import Any

import lightning


class CacheWarnings(lightning.Callback):
    """Warns at the end of an epoch of images that were damaged or could not be stored; training goes on without.

    Without an `ImageFolderDataModule` in the trainer there are no caches, and nothing to warn of.
    """

    def __init__(self) -> None:
        super().__init__()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Passes on what the caches noted since the last epoch."""
        caches: Any = getattr(getattr(trainer, "datamodule", None), "caches", None)
        for message in caches.new_warnings() if caches is not None else ():
            warnings.warn(message, stacklevel=2)
