"""Photos that can be learned, a run on them that nothing has interrupted (tests must change neither), and Trainers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from tests.helpers.training import fit_photos, make_learnable_photos


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_learnable_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    fit_photos(folder, photos)
    return folder


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., pl.Trainer]:
    """Makes Trainers of two epochs on the CPU; arguments are callbacks, and options of the Trainer."""

    def make(*callbacks: pl.Callback, **options: Any) -> pl.Trainer:
        checkpointing = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
        defaults: dict[str, Any] = {
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 2,
            "logger": False,
            "enable_checkpointing": checkpointing,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        return pl.Trainer(callbacks=list(callbacks), **(defaults | options))

    return make
