"""The table of the trackers: checked before anything is trained, opened when the run folder exists."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from classifier_training.config.schema import TrackingConfig
from classifier_training.errors import ConfigError
from classifier_training.files.credentials import has_password
from classifier_training.run.folder import RunFolder
from classifier_training.tracking.memory import TrackerMemory
from classifier_training.tracking.mlflow import MLflowTracker
from classifier_training.tracking.tensorboard import TensorBoardTracker
from classifier_training.tracking.thread import TrackerThread
from classifier_training.tracking.tracker import Tracker, TrackerContext
from classifier_training.tracking.trackers import Trackers
from classifier_training.tracking.values import tracked_settings
from classifier_training.tracking.wandb import WandbTracker

TRACKERS: Final[Mapping[str, tuple[str, Callable[[TrackerContext], Tracker]]]] = {
    "tensorboard": ("TensorBoard", TensorBoardTracker),
    "wandb": ("Weights & Biases", WandbTracker),
    "mlflow": ("MLflow", MLflowTracker),
}
"""Display name and class of every tracker, by the name of its setting, its package, its extra and its module."""


def check_trackers(settings: TrackingConfig) -> None:
    """Finds the faults of the settings that would only show when a run starts; imports none of the libraries.

    Raises:
        ConfigError: A library is not installed, or a password would be written down; one line for each fault.
    """
    faults = [
        f"tracking.{name}=true needs the package {name}, which is not installed; install it with"
        f" pip install 'classifier-training[{name}]', or set tracking.{name}=false"
        for name in TRACKERS
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
    """Starts a run in every tracker that the settings name, or continues it after a resume.

    A tracker that cannot start is left out with a warning. Only the first process of a run may call this.

    Args:
        settings: Which trackers, and their addresses.
        run: The run, whose folder exists.
        config: The resolved configuration, of plain values.

    Returns:
        The trackers; `Trackers.messages` shows how to open them.
    """
    memory = TrackerMemory(run.trackers)
    context = TrackerContext(run, tracked_settings(config), memory, settings)
    threads = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these libraries warn about each other when they are imported
        for name, (title, make) in TRACKERS.items():
            wanted = getattr(settings, name)
            if _is_installed(name) if wanted == "auto" else wanted:
                threads[name] = TrackerThread(title, partial(make, context), settings.timeout_seconds)
                threads[name].wait()  # processes of data loaders must not be forked while modules are imported
    return Trackers(run, memory, threads)


def _is_installed(package: str) -> bool:
    """Whether a package is installed; a folder of that name without a module in it, such as ``wandb/``, is not one."""
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None
