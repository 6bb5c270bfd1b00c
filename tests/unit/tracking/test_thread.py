from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence

import pytest

from classifier_training.tracking.thread import MAX_REASON_LENGTH, TrackerThread
from classifier_training.tracking.tracker import Figure, ModelFile


class Recorder:
    """A tracker that records its calls."""

    message = "look here"

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.closed: list[bool] = []
        self.hangs = threading.Event()
        self.let_go = threading.Event()

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        self.steps.append(step)

    def log_figures(self, figures: Sequence[Figure], step: int) -> None:
        self.hangs.set()
        self.let_go.wait()

    def log_scores(self, scores: Mapping[str, float], step: int) -> None:
        raise OSError("http://me:secret@host is\nfull " + "x" * 1000)

    def log_model(self, model: ModelFile) -> None:
        sys.exit(3)

    def close(self, *, succeeded: bool) -> None:
        self.closed.append(succeeded)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.let_go.set()


def test_jobs_run_one_after_the_other(recorder: Recorder) -> None:
    thread = TrackerThread("Recorder", lambda: recorder, 60)
    for step in range(100):
        thread.submit(lambda tracker, step=step: tracker.log_metrics({}, step))  # type: ignore[misc]
    thread.wait()
    assert recorder.steps == list(range(100))
    assert thread.failure is None
    thread.close()


def test_a_tracker_that_cannot_start_has_failed() -> None:
    def make() -> Recorder:
        raise ImportError("No module named 'wandb'")

    thread = TrackerThread("Recorder", make, 60)
    thread.wait()
    assert (thread.failure, thread.tracker) == ("No module named 'wandb'", None)


def test_one_that_fails_is_closed_and_gets_no_more_jobs(recorder: Recorder) -> None:
    thread = TrackerThread("Recorder", lambda: recorder, 60)
    thread.submit(lambda tracker: tracker.log_scores({}, 1))
    thread.submit(lambda tracker: tracker.log_metrics({}, 1))
    thread.wait()
    thread.submit(lambda tracker: tracker.log_metrics({}, 2))
    assert recorder.steps == []
    assert thread.failure is not None
    assert thread.failure.startswith("http://host is full xxx")
    assert len(thread.failure) == MAX_REASON_LENGTH + 1


def test_one_that_ends_the_program_only_fails(recorder: Recorder) -> None:
    thread = TrackerThread("Recorder", lambda: recorder, 60)
    thread.submit(lambda tracker: tracker.log_model(ModelFile(None, "")))  # type: ignore[arg-type]
    thread.wait()
    assert thread.failure == "3"


def test_one_that_hangs_has_failed(recorder: Recorder) -> None:
    thread = TrackerThread("Recorder", lambda: recorder, 0.05)
    thread.submit(lambda tracker: tracker.log_figures([], 1))
    thread.submit(lambda tracker: tracker.log_metrics({}, 1))
    thread.wait()
    assert thread.failure == "no answer within 0.05 s"
    recorder.let_go.set()
    assert recorder.steps == []


def test_a_shorter_wait_ends_sooner(recorder: Recorder) -> None:
    thread = TrackerThread("Recorder", lambda: recorder, 3600)
    thread.submit(lambda tracker: tracker.log_figures([], 1))
    recorder.hangs.wait()
    assert thread.failure is None
    thread.wait(0.05)
    assert thread.failure == "no answer within 0.05 s"


def test_one_that_hangs_does_not_keep_the_process_alive() -> None:
    code = (
        "import threading\n"
        "from classifier_training.tracking.thread import TrackerThread\n"
        "thread = TrackerThread('Hanging', threading.Event().wait, 0.05)\n"
        "thread.wait()\n"
        "print(thread.failure)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("no answer within 0.05 s\n", 0), done.stderr
