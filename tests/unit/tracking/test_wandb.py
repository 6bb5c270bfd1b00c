from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers.tracking import RESULTS, log_epochs, opened
from tests.helpers.wandb_files import OfflineRun, offline_runs

from classifier_training.config.schema import TrackingConfig
from classifier_training.run.folder import RunFolder

ONLY = TrackingConfig(tensorboard=False, wandb=True, wandb_mode="offline", project="leaves")


def written(run: RunFolder) -> OfflineRun:
    (one,) = offline_runs(run.wandb)
    return one


def values(runs: list[OfflineRun], name: str) -> list[tuple[int, float]]:
    return [(step, row[name]) for one in runs for step, row in one.history.items() if name in row]


def test_a_run_holds_settings_metrics_and_figures(run: RunFolder) -> None:
    with opened(run, ONLY, optimizer={"lr": 0.02}) as trackers:
        log_epochs(trackers, 0, 1)
    one = written(run)
    assert (one.name, one.project, one.exit_code) == ("first run", "leaves", 1)
    assert one.config["optimizer.lr"] == 0.02
    assert one.config["model.weights"] == "null"
    assert values([one], "val/top1") == [(6, 0.5), (12, 0.625)]
    assert values([one], "epoch") == [(6, 0), (12, 1)]
    assert one.history[6]["plots/history/_type"] == "image-file"
    assert "plots/history/_type" not in one.history[12], "it has not changed"
    (file,) = run.wandb.glob(f"offline-run-*/files/{one.history[6]['plots/history/path']}")
    with Image.open(file) as shown, Image.open(run.plots / "history.png") as plotted:
        assert shown.tobytes() == plotted.tobytes()


def test_the_end_has_scores_and_the_model_with_its_hash(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.root)
    run.best_checkpoint.parent.mkdir()
    run.best_checkpoint.write_bytes(b"weights")
    relative = RunFolder(Path())
    with opened(relative, ONLY) as trackers:
        log_epochs(trackers, 0)
        trackers.finish(RESULTS, relative.best_checkpoint)
    one = written(run)
    assert one.exit_code == 0
    assert one.summary["test/top1"] == 0.75
    assert one.summary["model/sha256"] == hashlib.sha256(b"weights").hexdigest()
    (artifact,) = one.artifacts
    (file,) = artifact.manifest.contents
    assert (file.path, file.local_path) == ("best.ckpt", str(run.best_checkpoint)), "`wandb sync` runs anywhere"


def test_a_resumed_run_goes_on_in_the_same_one_without_a_step_twice(run: RunFolder) -> None:
    with opened(run, ONLY) as trackers:
        log_epochs(trackers, 0, 1, 2)
    for epochs in ((1,), (1, 2, 3)):  # killed once more before it came further than the first time
        with opened(run, ONLY) as trackers:
            log_epochs(trackers, *epochs)
    runs = offline_runs(run.wandb)
    assert len({one.id for one in runs}) == 1
    assert values(runs, "val/top1") == [(6, 0.5), (12, 0.625), (18, 0.75), (24, 0.875)]
    steps = [step for one in runs for step in one.history]
    assert sorted(steps) == sorted(set(steps))


def test_offline_no_key_is_in_the_files_and_nobody_is_asked_anything(tmp_path: Path) -> None:
    """In a process of its own, because the library reads its variables once."""
    key = "0123456789abcdef" * 2 + "01234567"
    code = (
        "from pathlib import Path\n"
        "from tests.helpers.tracking import RunFolder, TrackingConfig, log_epochs, opened\n"
        "settings = TrackingConfig(tensorboard=False, wandb=True, wandb_mode='offline')\n"
        f"with opened(RunFolder(Path({str(tmp_path / 'run')!r})), settings) as trackers:\n"
        "    log_epochs(trackers, 0)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_SER")}
    environment.pop("WANDB_ERROR_REPORTING", None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment |= {"WANDB_API_KEY": key, "WANDB_BASE_URL": f"http://127.0.0.1:{server.getsockname()[1]}"}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
        )
        assert (done.stdout, done.returncode) == ("", 0), done.stderr
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if key.encode() in path.read_bytes()]


def test_without_a_key_there_is_a_warning_and_no_prompt(run: RunFolder) -> None:
    with pytest.warns(UserWarning, match=r"^stopped sending this run to Weights & Biases; .*: no API key is"):
        trackers = opened(run, TrackingConfig(tensorboard=False, wandb=True))
    log_epochs(trackers, 0)
    trackers.close()


def test_the_variable_that_forbids_the_network_is_heard(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with opened(run, TrackingConfig(tensorboard=False, wandb=True)) as trackers:
        log_epochs(trackers, 0)
        assert trackers.messages == [f"Weights & Biases: wandb sync '{run.wandb}'/offline-run-*"]
    assert values([written(run)], "val/top1") == [(6, 0.5)]
