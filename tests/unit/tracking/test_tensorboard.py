from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.images import make_image, make_pixels
from tests.helpers.tracking import RESULTS, log_epochs, opened

from classifier_training.config.schema import TrackingConfig
from classifier_training.run.folder import RunFolder

ONLY = TrackingConfig(tensorboard=True)


def events(run: RunFolder) -> Any:
    """What TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def scalars(run: RunFolder, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(run).Scalars(name)]


def hyperparameters(run: RunFolder, tag: str) -> Any:
    from tensorboard.plugins.hparams import plugin_data_pb2

    content = events(run).PluginTagToContent("hparams")[f"_hparams_/{tag}"]
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def test_a_metric_has_a_value_at_every_step(run: RunFolder) -> None:
    with opened(run, ONLY) as trackers:
        log_epochs(trackers, 0, 1)
    assert scalars(run, "val/top1") == [(6, 0.5), (12, 0.625)]
    assert scalars(run, "epoch") == [(6, 0), (12, 1)]


def test_figures_are_the_files_of_the_run(run: RunFolder) -> None:
    with opened(run, ONLY) as trackers:
        log_epochs(trackers, 0)
    shown = events(run)
    assert shown.Tags()["images"] == ["plots/history", "val/confusion_matrix"]
    (image,) = shown.Images("plots/history")
    assert image.encoded_image_string == (run.plots / "history.png").read_bytes()
    assert (image.step, image.width, image.height) == (6, 48, 32)


def test_settings_are_hyperparameters(run: RunFolder) -> None:
    with opened(run, ONLY, optimizer={"lr": 0.02}, model={"pretrained": True, "name": "resnet50"}):
        pass
    settings = hyperparameters(run, "session_start_info").session_start_info.hparams
    assert settings["optimizer.lr"].number_value == 0.02
    assert settings["model.pretrained"].bool_value is True
    assert settings["model.name"].string_value == "resnet50"
    assert settings["model.weights"].string_value == "null"


def test_the_end_has_scores_and_the_hash_of_the_model(run: RunFolder) -> None:
    model = run.root / "best.ckpt"
    model.write_bytes(b"weights")
    with opened(run, ONLY) as trackers:
        log_epochs(trackers, 0)
        trackers.finish(RESULTS, model)
    assert scalars(run, "test/top1") == [(6, 0.75)]
    (text,) = events(run).Tensors("model/text_summary")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert text.tensor_proto.string_val[0].decode() == f"`best.ckpt`, SHA-256 `{sha256}`"
    from tensorboard.plugins.hparams import api_pb2

    assert hyperparameters(run, "session_end_info").session_end_info.status == api_pb2.STATUS_SUCCESS


def test_an_interrupted_run_is_not_a_success(run: RunFolder) -> None:
    from tensorboard.plugins.hparams import api_pb2

    with opened(run, ONLY) as trackers:
        log_epochs(trackers, 0)
    assert hyperparameters(run, "session_end_info").session_end_info.status == api_pb2.STATUS_FAILURE


def test_an_epoch_that_is_trained_again_replaces_the_one_before(run: RunFolder) -> None:
    with opened(run, ONLY) as trackers:
        log_epochs(trackers, 0, 1, 2)
    with opened(run, ONLY) as trackers:
        log_epochs(trackers, 1, 2, 3, top1=0.25)
    assert scalars(run, "val/top1") == [(6, 0.5), (12, 0.375), (18, 0.5), (24, 0.625)]
    assert [image.step for image in events(run).Images("plots/history")] == [6]


def test_a_figure_that_the_killed_process_sent_too_late_is_sent_again(run: RunFolder) -> None:
    with opened(run, ONLY) as trackers:
        log_epochs(trackers, 0)
        make_image(run.plots / "history.png", make_pixels(seed=9))
        log_epochs(trackers, 1)
    with opened(run, ONLY) as trackers:
        log_epochs(trackers, 1)
    images = events(run).Images("plots/history")
    assert [image.step for image in images] == [6, 12]
    assert images[1].encoded_image_string == (run.plots / "history.png").read_bytes()


def test_a_run_that_is_only_finished_again_keeps_its_last_epoch(run: RunFolder) -> None:
    for _ in range(2):
        with opened(run, ONLY) as trackers:
            if not (run.root / "results.json").exists():
                log_epochs(trackers, 0)
            trackers.finish(RESULTS, None)
        (run.root / "results.json").touch()
    assert scalars(run, "val/top1") == [(6, 0.5)]
    assert scalars(run, "test/top1") == [(6, 0.75)]


def test_a_folder_that_is_removed_is_one_warning(run: RunFolder) -> None:
    trackers = opened(run, ONLY)
    log_epochs(trackers, 0)
    shutil.rmtree(run.tensorboard)
    with pytest.warns(UserWarning, match=r"^stopped sending this run to TensorBoard; .*: .* was removed$"):
        log_epochs(trackers, 1)
    log_epochs(trackers, 2)
    trackers.close()
    assert not run.tensorboard.exists()


def test_a_file_instead_of_the_folder_leaves_tensorboard_out(run: RunFolder) -> None:
    run.tensorboard.write_text("")
    with pytest.warns(UserWarning, match="stopped sending this run to TensorBoard"):
        trackers = opened(run, ONLY)
    log_epochs(trackers, 0)
    assert trackers.messages == []


def test_tensorflow_is_not_imported(tmp_path: Path) -> None:
    """It takes many seconds; TensorBoard's usual writers import it where it is installed."""
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('TensorFlow was imported')")
    code = (
        "import sys\n"
        f"sys.path[:0] = [{str(tmp_path)!r}, {str(Path.cwd())!r}]\n"
        "from pathlib import Path\n"
        "from classifier_training.run.folder import RunFolder\n"
        "from classifier_training.tracking.memory import TrackerMemory\n"
        "from classifier_training.config.schema import TrackingConfig\n"
        "from classifier_training.tracking.tensorboard import TensorBoardTracker\n"
        "from classifier_training.tracking.tracker import TrackerContext\n"
        f"run, memory = RunFolder(Path({str(tmp_path)!r})), TrackerMemory(Path('none'))\n"
        "tracker = TensorBoardTracker(TrackerContext(run, {'a': 1}, memory, TrackingConfig()))\n"
        "tracker.log_metrics({'val/top1': 0.5}, 1)\n"
        "tracker.close(succeeded=True)\n"
        "print('torch' in sys.modules, 'lightning' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.stdout, done.stderr) == ("False False\n", "")
