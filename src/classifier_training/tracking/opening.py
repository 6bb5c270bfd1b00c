"""Which trackers a run has: checked before anything is trained, opened when its folder is there."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from classifier_training.config.schema import TrackingConfig
from classifier_training.errors import ConfigError
from classifier_training.files.credentials import has_password
from classifier_training.run.folder import RunFolder
from classifier_training.tracking.memory import TrackerMemory
from classifier_training.tracking.mlflow import MLflowTracker
from classifier_training.tracking.tensorboard import TensorBoardTracker
from classifier_training.tracking.thread import TrackerThread
from classifier_training.tracking.tracker import Tracker
from classifier_training.tracking.trackers import Trackers
from classifier_training.tracking.values import tracked_settings
from classifier_training.tracking.wandb import WandbTracker

TITLES = {"tensorboard": "TensorBoard", "wandb": "Weights & Biases", "mlflow": "MLflow"}
"""Every tracker by the name that its setting, its package, its extra and its module have."""


def check_trackers(settings: TrackingConfig) -> None:
    """Finds the faults of the settings that would only show when a run begins; imports none of the libraries.

    Raises:
        ConfigError: A library is not installed, or a password would be written down; one line for each fault.
    """
    faults = [
        f"tracking.{name}=true needs the package {name}, which is not installed; install it with"
        f" pip install 'classifier-training[{name}]', or set tracking.{name}=false"
        for name in TITLES
        if getattr(settings, name) is True and not _is_installed(name)
    ]
    if settings.mlflow_uri is not None and has_password(settings.mlflow_uri):
        faults.append(
            "tracking.mlflow_uri holds a password, and settings are written into the run; set the variables"
            " MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_URI to the whole address"
        )
    if faults:
        raise ConfigError("\n".join(faults))


def open_trackers(settings: TrackingConfig, run: RunFolder, config: Mapping[str, Any]) -> Trackers:
    """Begins a run in every tracker that the settings name, or goes on with it after a resume.

    One that cannot begin is left out with a warning. To be called by the first process of a run alone.

    Args:
        settings: Which trackers, and where.
        run: The run, whose folder is there.
        config: The resolved configuration, of plain values.

    Returns:
        The trackers; `Trackers.messages` say where to look.
    """
    memory = TrackerMemory(run.trackers)
    threads = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what these libraries say of each other when they are imported
        for name, make in _makers(settings, run, config, memory):
            threads[name] = TrackerThread(TITLES[name], make, settings.timeout_seconds)
            threads[name].wait()  # processes of data loaders must not be forked while modules are imported
    return Trackers(run, memory, threads)


def _makers(
    settings: TrackingConfig, run: RunFolder, config: Mapping[str, Any], memory: TrackerMemory
) -> Iterator[tuple[str, Callable[[], Tracker]]]:
    flat = tracked_settings(config)
    if settings.tensorboard is True or (settings.tensorboard == "auto" and _is_installed("tensorboard")):
        yield "tensorboard", partial(TensorBoardTracker, run, flat, memory)
    if settings.wandb:
        yield "wandb", partial(WandbTracker, run, flat, memory, settings)
    if settings.mlflow:
        yield "mlflow", partial(MLflowTracker, run, flat, memory, settings)


def _is_installed(package: str) -> bool:
    """Whether a package is there; a folder of that name without a module in it, such as ``wandb/``, is none."""
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None
