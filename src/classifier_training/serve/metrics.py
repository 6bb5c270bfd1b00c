"""What a server counts, in the text format of Prometheus."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector

from classifier_training.errors import BadImageError
from classifier_training.serve.drift import Drift
from classifier_training.serve.model import ModelAnswer

if TYPE_CHECKING:
    from classifier_training.inference.card import DeploymentCard

SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names where several processes keep their counts; it is set before this module is imported."""
_BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counters of a server; those of all its processes together, where there are several.

    Args:
        card: Of the model; its validation figures are what drift is measured against.
    """

    def __init__(self, card: DeploymentCard) -> None:
        own = CollectorRegistry()
        self._registry = own
        self.requests = Counter("classifier_requests", "Requests by path and status.", ["path", "status"], registry=own)
        self.seconds = Histogram("classifier_request_seconds", "Time of a request by path.", ["path"], registry=own)
        self.unreadable = Counter("classifier_unreadable_images", "Images that could not be read.", registry=own)
        self.batches = Histogram("classifier_batch_images", "Images in a batch.", buckets=_BATCHES, registry=own)
        self.places = Gauge(
            "classifier_images_in_flight", "Images on their way.", registry=own, multiprocess_mode="livesum"
        )
        self.hung_up = Counter("classifier_hung_up", "Requests whose clients hung up.", registry=own)
        self.drift = Drift(card, own)
        if SHARED_FOLDER not in os.environ:
            ProcessCollector(registry=own)

    def count(self, results: Sequence[ModelAnswer | BadImageError]) -> None:
        """Counts what became of images."""
        for result in results:
            if isinstance(result, BadImageError):
                self.unreadable.inc()
            else:
                self.drift.count(result)

    def text(self) -> bytes:
        """What Prometheus reads."""
        registry, shared = self._registry, os.environ.get(SHARED_FOLDER)
        if shared is not None:
            _forget_ended(Path(shared))
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # it has no types
        return b"".join((generate_latest(registry), generate_latest(self.drift.compared(registry))))


def _forget_ended(folder: Path) -> None:
    """Leaves out the present state of processes that have ended, which others have replaced."""
    for path in folder.glob("gauge_live*.db"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]  # it has no types
