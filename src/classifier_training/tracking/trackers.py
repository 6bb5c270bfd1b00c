"""All trackers of a run: what is sent to each, and what is said when one fails."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from classifier_training.run.folder import RunFolder
from classifier_training.tracking.memory import TrackerMemory
from classifier_training.tracking.run_figures import RunFigures
from classifier_training.tracking.thread import TrackerThread
from classifier_training.tracking.tracker import Figure, Tracker, model_file
from classifier_training.tracking.values import final_scores

Job = Callable[[Tracker], None]

FAREWELL_SECONDS = 10.0
"""How long a run that was stopped waits for its trackers; schedulers kill soon after they have asked."""
LAST_SECONDS = 0.5
"""What it waits in any case, so that those that can still end their run do."""
MAX_WAITING = 16
"""Things that may wait for a slow tracker before it gets no figures: these are kept in memory until they are sent."""


class Trackers:
    """Sends a run to its trackers without ever stopping it.

    Nothing waits for a tracker but the start and the end of the run. One that fails, or takes too long, gets nothing
    more; a warning of one line says so once. The object belongs to its process: a copy in another one has no trackers,
    and one that is made without arguments has none either.

    Args:
        run: The run; None: there is nothing to send.
        memory: What is kept for a resumed run; needed with a run.
        threads: The trackers, by the names under which the memory knows them.

    Attributes:
        messages: Where to look, one for each tracker, for a person.
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
        self._is_going_on = any("step" in values for values in known.values())
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
            step: Optimizer steps until then.
            epoch: From 0; sent as a metric too.
        """
        if self._is_going_on:
            self._forget_figures(step)
        self._step = step
        values = {"epoch": float(epoch), **metrics}
        self._ask(lambda tracker: tracker.log_metrics(values, step), step=step)

    def log_figures(self) -> None:
        """Sends every PNG file of the run folder that has changed since it was sent, to the trackers that keep up."""
        self._log_figures([(name, thread) for name, thread in self._working() if thread.num_waiting <= MAX_WAITING])

    def _log_figures(self, threads: Sequence[tuple[str, TrackerThread]]) -> None:
        if self._figures is None or not threads:
            return
        figures, step = self._figures.find(), self._step
        for name, thread in threads:
            sent = self._sent[name]
            new = [figure for figure in figures if sent.get(figure.name, {}).get("sha256") != figure.sha256]
            if new:
                sent |= {figure.name: {"sha256": figure.sha256, "step": step} for figure in new}
                thread.ask(self._job(name, _sending(new, step), {"figures": dict(sent)}))
        self._say_failures()

    def finish(self, results: Mapping[str, Any], model: Path | None) -> None:
        """Sends the end of a run: the last figures, the scores and the model.

        Args:
            results: The content of ``results.json``.
            model: The exported file, else the best checkpoint; None: no file is sent.
        """
        self._log_figures(self._working())
        step, scores = self._step, final_scores(results)
        self._ask(lambda tracker: tracker.log_scores(scores, step))
        if model is not None:
            self._ask(lambda tracker: tracker.log_model(model_file(model)))
        self._is_finished = True

    def flush(self, seconds: float | None = None) -> None:
        """Waits until everything is sent.

        Args:
            seconds: For all trackers together, less what was waited for them so before; each that takes longer is
                given up. None: as long as each thing takes no longer than it may.
        """
        started = time.monotonic()
        ends = None if seconds is None else started + max(LAST_SECONDS, seconds - self._waited)
        for _, thread in self._working():
            thread.wait(seconds, ends)
        if seconds is not None:
            self._waited += time.monotonic() - started
        self._say_failures()

    def close(self) -> None:
        """Ends the run in all trackers; waits for them, after a run that was stopped for a short time only."""
        succeeded = self._is_finished
        self._ask(lambda tracker: tracker.close(succeeded=succeeded))
        for _, thread in self._working():
            thread.close()
        self.flush(None if succeeded else FAREWELL_SECONDS)
        self._threads.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Trackers], tuple[()]]:
        return Trackers, ()

    def _ask(self, job: Job, **remembered: Any) -> None:
        for name, thread in self._working():
            thread.ask(self._job(name, job, remembered))
        self._say_failures()

    def _job(
        self, name: str, job: Callable[[Tracker], None], remembered: Mapping[str, Any]
    ) -> Callable[[Tracker], None]:
        """What a tracker's thread does: the job, and when it is done, remembering it."""

        def do(tracker: Tracker) -> None:
            job(tracker)
            if remembered and self._memory is not None:
                self._memory.update(name, **remembered)

        return do

    def _working(self) -> list[tuple[str, TrackerThread]]:
        return [(name, thread) for name, thread in self._threads.items() if thread.failure is None]

    def _say_failures(self) -> None:
        for name, thread in list(self._threads.items()):
            if thread.failure is not None:
                del self._threads[name]
                warnings.warn(
                    f"{thread.name} gets nothing more of this run, which goes on: {thread.failure}", stacklevel=3
                )

    def _forget_figures(self, step: int) -> None:
        """Has what a killed process has sent of this step and later ones sent again: a tracker may have dropped it."""
        for name, sent in self._sent.items():
            self._sent[name] = {figure: known for figure, known in sent.items() if known["step"] < step}
        self._is_going_on = False


def _sending(figures: Sequence[Figure], step: int) -> Job:
    return lambda tracker: tracker.log_figures(figures, step)
