from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import socket
import threading
import warnings
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers.images import make_image, make_pixels
from tests.helpers.tracking import EVERYWHERE, RESULTS, log_epochs, opened
from tests.helpers.wandb_files import offline_runs

from classifier_training.config.schema import TrackingConfig
from classifier_training.run.folder import RunFolder
from classifier_training.tracking.memory import TrackerMemory
from classifier_training.tracking.thread import TrackerThread
from classifier_training.tracking.tracker import Tracker
from classifier_training.tracking.trackers import MAX_QUEUED, RunFigures, Trackers


def test_figures_have_the_same_names_everywhere(run: RunFolder, store: Path) -> None:
    from mlflow import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with opened(run) as trackers:
        log_epochs(trackers, 0)
        make_image(run.scored("test").confusion_figure, make_pixels(seed=3))
        trackers.finish(RESULTS, None)
    names = {"plots/history", "val/confusion_matrix", "test/confusion_matrix"}

    assert set(EventAccumulator(str(run.tensorboard)).Reload().Tags()["images"]) == names
    (one,) = offline_runs(run.wandb)
    assert {key.removesuffix("/_type") for row in one.history.values() for key in row if key.endswith("_type")} == names
    client = MlflowClient(tracking_uri=f"sqlite:///{store}")
    run_id = TrackerMemory(run.trackers).of("mlflow")["run_id"]
    files = [entry.path for folder in ("plots", "val", "test") for entry in client.list_artifacts(run_id, folder)]
    assert {file.removesuffix(".png") for file in files} == names


def test_messages_show_how_to_open_each_tracker(run: RunFolder, store: Path) -> None:
    with opened(run) as trackers:
        assert trackers.messages == [
            f"TensorBoard: tensorboard --logdir {run.root.parent}",
            f"Weights & Biases: wandb sync '{run.wandb}'/offline-run-*",
            f"MLflow: mlflow ui --backend-store-uri sqlite:///{store}",
        ]


def test_one_that_fails_does_not_affect_the_others(run: RunFolder, store: Path) -> None:
    from mlflow import MlflowClient

    trackers = opened(run, EVERYWHERE.model_copy(update={"wandb": False}))
    log_epochs(trackers, 0)
    shutil.rmtree(run.tensorboard)
    with pytest.warns(UserWarning, match="stopped sending this run to TensorBoard"):
        log_epochs(trackers, 1)
    log_epochs(trackers, 2)
    trackers.close()
    client = MlflowClient(tracking_uri=f"sqlite:///{store}")
    values = client.get_metric_history(TrackerMemory(run.trackers).of("mlflow")["run_id"], "val/top1")
    assert [value.step for value in values] == [6, 12, 18]


def test_a_server_that_never_answers_is_waited_for_once(run: RunFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        settings = TrackingConfig(tensorboard=False, mlflow=True, mlflow_uri=uri, timeout_seconds=1.0)
        with pytest.warns(UserWarning, match=r"^stopped sending this run to MLflow; .*: no answer within 1 s$"):
            trackers = opened(run, settings)
        log_epochs(trackers, 0, 1)
        trackers.finish(RESULTS, None)
        trackers.close()


def test_the_time_to_wait_is_for_all_trackers_together() -> None:
    is_over = threading.Event()

    def hang() -> Tracker:
        is_over.wait(20)
        raise RuntimeError

    ends: list[float | None] = []

    class Recording(TrackerThread):
        def wait(self, seconds: float | None = None, until: float | None = None) -> None:
            ends.append(until)
            super().wait(seconds, until)

    trackers = Trackers()
    trackers._threads = {name: Recording(name, hang, 60) for name in ("one", "two")}
    with pytest.warns(UserWarning, match="no answer within 0.5 s"):
        trackers.flush(0.5)
    assert not trackers._threads
    is_over.set()
    assert len(set(ends)) == 1
    assert trackers._waited >= 0.5  # and is subtracted when the run is closed


def test_a_tracker_that_lags_behind_gets_no_figures_until_it_has_caught_up(run: RunFolder) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    is_released = threading.Event()

    def work(_: Tracker) -> None:
        is_released.wait(60)

    trackers = opened(run, TrackingConfig(tensorboard=True))
    (thread,) = trackers._threads.values()
    thread.submit(work)
    figure = run.plots / "history.png"
    for epoch in range(MAX_QUEUED + 3):
        Image.new("RGB", (8 + epoch, 8)).save(figure)
        trackers.log_metrics({"val/top1": 0.5}, step=epoch, epoch=epoch)
        trackers.log_figures()
    assert thread.num_queued <= 2 * MAX_QUEUED
    is_released.set()
    trackers.finish(RESULTS, None)
    trackers.close()
    events = EventAccumulator(str(run.tensorboard), size_guidance={"images": 0, "scalars": 0}).Reload()
    assert [value.step for value in events.Scalars("val/top1")] == list(range(MAX_QUEUED + 3))
    sent = [image.step for image in events.Images("plots/history")]
    assert len(sent) < MAX_QUEUED
    assert sent[-1] == MAX_QUEUED + 2  # the last one is sent at the end


def test_a_missing_model_is_a_warning(run: RunFolder) -> None:
    trackers = opened(run, TrackingConfig(tensorboard=True))
    log_epochs(trackers, 0)
    trackers.finish(RESULTS, run.best_checkpoint)
    with pytest.warns(UserWarning, match="No such file"):
        trackers.close()


def test_a_memory_that_cannot_be_written_fails_the_tracker_and_not_the_run(run: RunFolder) -> None:
    trackers = opened(run, TrackingConfig(tensorboard=True))
    run.trackers.mkdir()
    with pytest.warns(UserWarning, match="stopped sending this run to TensorBoard"):
        log_epochs(trackers, 0)
    trackers.close()


def test_an_unchanged_figure_is_sent_once_also_over_a_resume(run: RunFolder) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for epochs in ((0, 1), (2, 3)):
        with opened(run, TrackingConfig(tensorboard=True)) as trackers:
            log_epochs(trackers, *epochs)
    events = EventAccumulator(str(run.tensorboard), size_guidance={"images": 0}).Reload()
    assert [image.step for image in events.Images("plots/history")] == [6]


def test_without_trackers_nothing_is_done(run: RunFolder) -> None:
    files = run.written_files()
    for trackers in (Trackers(), opened(run, TrackingConfig(tensorboard=False))):
        log_epochs(trackers, 0)
        trackers.finish(RESULTS, run.best_checkpoint)
        trackers.close()
        assert trackers.messages == []
    assert run.written_files() == files


def test_a_copy_in_another_process_sends_nothing(run: RunFolder) -> None:
    with opened(run, TrackingConfig(tensorboard=True)) as trackers, warnings.catch_warnings():
        again = pickle.loads(pickle.dumps(trackers))  # noqa: S301 - this test has just written it
        assert again.messages == []
        log_epochs(again, 0)
    assert "step" not in TrackerMemory(run.trackers).of("tensorboard")


def test_figures_are_stored_as_sent_only_after_they_were_sent(run: RunFolder) -> None:
    with opened(run, TrackingConfig(tensorboard=True)) as trackers:
        log_epochs(trackers, 0)
    memory = TrackerMemory(run.trackers)
    known = memory.of("tensorboard")["figures"]

    def fail(_: Tracker) -> None:
        raise OSError("the disk is full")

    trackers = opened(run, TrackingConfig(tensorboard=True))
    (thread,) = trackers._threads.values()
    thread.submit(fail)
    Image.new("RGB", (9, 9)).save(run.plots / "history.png")
    with pytest.warns(UserWarning, match="the disk is full"):
        log_epochs(trackers, 1)
    TrackerMemory(run.trackers).update("another", step=1)
    assert TrackerMemory(run.trackers).of("tensorboard")["figures"] == known


def test_every_png_is_named_by_its_path(run: RunFolder) -> None:
    figures = RunFigures(run).find()
    assert [figure.name for figure in figures] == ["plots/history", "val/confusion_matrix"]
    content = (run.plots / "history.png").read_bytes()
    assert (figures[0].png, figures[0].sha256) == (content, hashlib.sha256(content).hexdigest())


def test_files_of_trackers_and_other_files_are_left_out(run: RunFolder) -> None:
    make_image(run.wandb / "run" / "media" / "copy.png")
    make_image(run.tensorboard / "copy.png")
    make_image(run.plots / ".history.png.abc.png")
    make_image(run.plots / "photo.jpg")
    (run.plots / "empty.png").touch()
    (run.plots / "gone.png").symlink_to("nowhere")
    (run.plots / "folder.png").mkdir()
    assert [figure.name for figure in RunFigures(run).find()] == ["plots/history", "val/confusion_matrix"]


def test_a_file_that_was_written_again_is_read_again(run: RunFolder) -> None:
    figures = RunFigures(run)
    first, untouched = figures.find()
    make_image(run.plots / "history.png", make_pixels(seed=9))
    os.utime(run.plots / "history.png", ns=(1, 1))
    again, same = figures.find()
    assert again.sha256 != first.sha256
    assert same is untouched


def test_a_name_that_is_not_utf8_is_written_with_escapes(run: RunFolder) -> None:
    make_image(run.plots / "\udcff<b>.png", format_name="PNG")
    assert "plots/\\udcff<b>" in [figure.name for figure in RunFigures(run).find()]


def test_a_run_without_a_folder_has_no_figures(run: RunFolder) -> None:
    assert RunFigures(RunFolder(run.root / "none")).find() == []
