"""All trackers of a run: what is sent to each, and the warning when one fails."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from classifier_training.files.text import plain_text
from classifier_training.run.folder import RunFolder
from classifier_training.tracking.memory import TrackerMemory
from classifier_training.tracking.thread import TrackerThread
from classifier_training.tracking.tracker import Figure, Tracker, model_file
from classifier_training.tracking.values import final_scores

Job = Callable[[Tracker], None]
PNG_START = b"\x89PNG\r\n\x1a\n"

INTERRUPTED_WAIT_SECONDS = 10.0
"""How long an interrupted run waits for its trackers; schedulers kill it soon after their signal."""
MIN_WAIT_SECONDS = 0.5
"""How long it waits in any case, so that responsive trackers can still end their runs."""
MAX_QUEUED = 16
"""Jobs in the queue of a slow tracker above which it gets no figures: these are in memory until they are sent."""


class Trackers:
    """Sends a run to its trackers and never stops it.

    Only the start and the end of a run wait for a tracker. One that fails, or takes too long, is dropped with a warning
    of one line. The object belongs to its process: a copy in another process has no trackers, like one that is created
    without arguments.

    Args:
        run: The run; None: nothing is sent.
        memory: Values for a resumed run; needed with a run.
        threads: The trackers, by their names in the memory.

    Attributes:
        messages: How to open each tracker.
    """

    def __init__(
        self,
        run: RunFolder | None = None,
        memory: TrackerMemory | None = None,
        threads: Mapping[str, TrackerThread] | None = None,
    ) -> None:
        self._memory = memory
        self._threads = dict(threads or {})
        self._figures = None if run is None else RunFigures(run)
        known = {} if memory is None else {name: memory.of(name) for name in self._threads}
        self._sent: dict[str, dict[str, Any]] = {
            name: dict(values.get("figures", {})) for name, values in known.items()
        }
        self._step: int = max((values.get("step", 0) for values in known.values()), default=0)
        self._is_resumed = any("step" in values for values in known.values())
        self._is_finished = False
        self._waited = 0.0
        self.flush()
        self.messages: list[str] = [
            thread.tracker.message for _, thread in self._working() if thread.tracker is not None
        ]

    def log_metrics(self, metrics: Mapping[str, float], step: int, epoch: int) -> None:
        """Sends the metrics of an epoch.

        Args:
            metrics: By name, such as ``val/top1``.
            step: Optimizer steps so far.
            epoch: From 0; sent as a metric too.
        """
        if self._is_resumed:  # a tracker may have dropped the figures that a killed process sent of later steps
            for name, sent in self._sent.items():
                self._sent[name] = {figure: known for figure, known in sent.items() if known["step"] < step}
            self._is_resumed = False
        self._step = step
        values = {"epoch": float(epoch), **metrics}
        self._submit(lambda tracker: tracker.log_metrics(values, step), step=step)

    def log_figures(self) -> None:
        """Sends every PNG file of the run folder that has changed since it was sent, except to slow trackers."""
        self._log_figures([(name, thread) for name, thread in self._working() if thread.num_queued <= MAX_QUEUED])

    def _log_figures(self, threads: Sequence[tuple[str, TrackerThread]]) -> None:
        if self._figures is None or not threads:
            return
        figures, step = self._figures.find(), self._step
        for name, thread in threads:
            sent = self._sent[name]
            new = [figure for figure in figures if sent.get(figure.name, {}).get("sha256") != figure.sha256]
            if new:
                sent |= {figure.name: {"sha256": figure.sha256, "step": step} for figure in new}
                thread.submit(self._job(name, _sending(new, step), {"figures": dict(sent)}))
        self._report_failures()

    def finish(self, results: Mapping[str, Any], model: Path | None) -> None:
        """Sends the end of a run: the last figures, the scores and the model.

        Args:
            results: The content of ``results.json``.
            model: The exported file or else the best checkpoint; None: no file is sent.
        """
        self._log_figures(self._working())
        step, scores = self._step, final_scores(results)
        self._submit(lambda tracker: tracker.log_scores(scores, step))
        if model is not None:
            self._submit(lambda tracker: tracker.log_model(model_file(model)))
        self._is_finished = True

    def flush(self, seconds: float | None = None) -> None:
        """Waits until everything is sent.

        Args:
            seconds: For all trackers together, less the time of earlier calls; a tracker that takes longer is dropped.
                None: only the time of each job is limited.
        """
        started = time.monotonic()
        ends = None if seconds is None else started + max(MIN_WAIT_SECONDS, seconds - self._waited)
        for _, thread in self._working():
            thread.wait(seconds, ends)
        if seconds is not None:
            self._waited += time.monotonic() - started
        self._report_failures()

    def close(self) -> None:
        """Ends the run in all trackers and waits for them, after an interrupted run only for a short time."""
        succeeded = self._is_finished
        self._submit(lambda tracker: tracker.close(succeeded=succeeded))
        for _, thread in self._working():
            thread.close()
        self.flush(None if succeeded else INTERRUPTED_WAIT_SECONDS)
        self._threads.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Trackers], tuple[()]]:
        return Trackers, ()

    def _submit(self, job: Job, **remembered: Any) -> None:
        for name, thread in self._working():
            thread.submit(self._job(name, job, remembered))
        self._report_failures()

    def _job(self, name: str, job: Job, remembered: Mapping[str, Any]) -> Job:
        """The job, followed by storing what a resumed run needs."""

        def run(tracker: Tracker) -> None:
            job(tracker)
            if remembered and self._memory is not None:
                self._memory.update(name, **remembered)

        return run

    def _working(self) -> list[tuple[str, TrackerThread]]:
        return [(name, thread) for name, thread in self._threads.items() if thread.failure is None]

    def _report_failures(self) -> None:
        for name, thread in list(self._threads.items()):
            if thread.failure is not None:
                del self._threads[name]
                warnings.warn(
                    f"stopped sending this run to {thread.name}; the run continues: {thread.failure}", stacklevel=3
                )


def _sending(figures: Sequence[Figure], step: int) -> Job:
    return lambda tracker: tracker.log_figures(figures, step)


class RunFigures:
    """Reads the PNG files of a run folder except those of trackers and evaluations, and again only after a change."""

    def __init__(self, run: RunFolder) -> None:
        self._root = run.root
        self._excluded = {run.tensorboard, run.wandb, run.evaluations}
        self._read: dict[Path, tuple[tuple[int, int, int], Figure]] = {}

    def find(self) -> list[Figure]:
        """All figures, by name, whichever code has plotted them; one that cannot be read at the moment is left out."""
        found = []
        for name, folders, files in os.walk(self._root):
            folder = Path(name)
            folders[:] = [below for below in folders if folder / below not in self._excluded]
            for file in files:
                if file.endswith(".png") and not file.startswith("."):
                    with contextlib.suppress(OSError):  # removed since it was found
                        found.append(self._figure(folder / file))
        return sorted((figure for figure in found if figure.png.startswith(PNG_START)), key=lambda figure: figure.name)

    def _figure(self, path: Path) -> Figure:
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._read.get(path)
        if known is not None and known[0] == version:
            return known[1]
        png = path.read_bytes()
        name = plain_text(path.relative_to(self._root).with_suffix("").as_posix())
        figure = Figure(name, png, hashlib.sha256(png).hexdigest())
        self._read[path] = (version, figure)
        return figure
