"""Opens trackers as a run does."""

from __future__ import annotations

from typing import Any

from classifier_training.config.schema import Config, TrackingConfig
from classifier_training.run.folder import RunFolder
from classifier_training.tracking.opening import open_trackers
from classifier_training.tracking.trackers import Trackers

EVERYWHERE = TrackingConfig(tensorboard=True, wandb=True, wandb_mode="offline", mlflow=True)
RESULTS = {
    "monitor": "val/top1",
    "best": {"epoch": 1, "val/top1": 0.5},
    "test": {"num_images": 8, "top1": 0.75, "macro_f1": None, "classes": [{"class": "a", "f1": 1.0}]},
    "seconds": 3.5,
}


def opened(run: RunFolder, settings: TrackingConfig = EVERYWHERE, **sections: dict[str, Any]) -> Trackers:
    """The trackers of a run with default settings except for some sections."""
    run.root.mkdir(parents=True, exist_ok=True)
    return open_trackers(settings, run, Config.model_validate(sections).model_dump(mode="json"))


def log_epochs(trackers: Trackers, *epochs: int, top1: float = 0.5, steps: int = 6) -> None:
    """Logs a metric of each epoch, which has that many steps, and all figures."""
    for epoch in epochs:
        trackers.log_metrics({"val/top1": top1 + epoch / 8}, step=(epoch + 1) * steps, epoch=epoch)
        trackers.log_figures()
    trackers.flush()
