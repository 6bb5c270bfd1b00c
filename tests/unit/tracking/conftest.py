"""Runs, and a folder for the files that the libraries keep outside of them."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.images import make_image, make_pixels

from classifier_training.run.folder import RunFolder


@pytest.fixture(scope="package", autouse=True)
def _no_accounts_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the libraries out of the home folder, and their variables out of other tests."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
            patch.delenv(name)
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "HOME"):
            patch.setenv(name, str(home))
        for name in ("WANDB_ERROR_REPORTING", "WANDB_SILENT", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ALLOW_FILE_STORE",
                     "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "WANDB_SERVICE"):  # fmt: skip
            patch.setenv(name, "x")  # so that what the code sets is removed again
            del os.environ[name]
        yield


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new SQLite store of MLflow, whose tables take seconds to create."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own imports
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        from mlflow import MlflowClient

        MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with two figures."""
    run = RunFolder(tmp_path / "first run")
    make_image(run.plots / "history.png", make_pixels(seed=1))
    make_image(run.scored("val").confusion_figure, make_pixels(seed=2))
    return run


@pytest.fixture
def store(run: RunFolder, empty_store: Path) -> Path:
    """A store of MLflow next to the run, its default."""
    return Path(shutil.copy(empty_store, run.root.parent / "mlflow.db"))
