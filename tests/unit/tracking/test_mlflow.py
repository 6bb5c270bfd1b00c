from __future__ import annotations

import hashlib
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.images import make_image, make_pixels
from tests.helpers.tracking import RESULTS, log_epochs, opened

from classifier_training.config.schema import TrackingConfig
from classifier_training.run.folder import RunFolder

ONLY = TrackingConfig(tensorboard=False, mlflow=True, project="leaves")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow|sqlalchemy|alembic")


def stored(uri: str) -> tuple[Any, Any]:
    """MLflow's own client, and the only run of the experiment."""
    from mlflow import MlflowClient

    client: Any = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("leaves")
    (one,) = client.search_runs([experiment.experiment_id])
    return client, one


def history(uri: str, name: str) -> list[tuple[int, float]]:
    client, one = stored(uri)
    return [(value.step, value.value) for value in client.get_metric_history(one.info.run_id, name)]


def artifacts(uri: str, folder: str) -> dict[str, bytes]:
    client, one = stored(uri)
    paths = [entry.path for entry in client.list_artifacts(one.info.run_id, folder)]
    return {path: Path(client.download_artifacts(one.info.run_id, path)).read_bytes() for path in paths}


@pytest.fixture(params=["database", "files"])
def place(request: pytest.FixtureRequest, run: RunFolder, store: Path) -> tuple[str, TrackingConfig]:
    """A store and the settings that name it."""
    if request.param == "database":
        return f"sqlite:///{store}", ONLY
    uri = (run.root.parent / "mlruns").as_uri()
    return uri, ONLY.model_copy(update={"mlflow_uri": uri})


def test_a_run_holds_everything(run: RunFolder, place: tuple[str, TrackingConfig]) -> None:
    uri, settings = place
    run.best_checkpoint.parent.mkdir()
    run.best_checkpoint.write_bytes(b"weights")
    with opened(run, settings, optimizer={"lr": 0.02}) as trackers:
        log_epochs(trackers, 0)
        make_image(run.plots / "history.png", make_pixels(seed=9))
        log_epochs(trackers, 1)
        trackers.finish(RESULTS, run.best_checkpoint)
    _, one = stored(uri)
    assert (one.info.run_name, one.info.status) == ("first run", "FINISHED")
    assert one.data.params["optimizer.lr"] == "0.02"
    assert one.data.params["model.weights"] == "null"
    assert history(uri, "val/top1") == [(6, 0.5), (12, 0.625)]
    assert history(uri, "test/top1") == [(12, 0.75)]
    assert artifacts(uri, "plots") == {"plots/history.png": (run.plots / "history.png").read_bytes()}
    assert list(artifacts(uri, "val")) == ["val/confusion_matrix.png"]
    assert artifacts(uri, "model") == {"model/best.ckpt": b"weights"}
    assert one.data.tags["model.sha256"] == hashlib.sha256(b"weights").hexdigest()


def test_a_resumed_run_goes_on_in_the_same_one_without_a_step_twice(
    run: RunFolder, place: tuple[str, TrackingConfig]
) -> None:
    uri, settings = place
    with opened(run, settings, trainer={"max_epochs": 20}) as trackers:
        log_epochs(trackers, 0, 1)
    assert stored(uri)[1].info.status == "KILLED"
    with opened(run, settings, trainer={"max_epochs": 30}) as trackers:
        assert stored(uri)[1].info.status == "RUNNING"
        log_epochs(trackers, 1, 2)
    assert history(uri, "val/top1") == [(6, 0.5), (12, 0.625), (18, 0.75)]
    data = stored(uri)[1].data
    assert (data.params["trainer.max_epochs"], data.tags["resumed.trainer.max_epochs"]) == ("20", "30")
    assert not [tag for tag in data.tags if tag.startswith("resumed.") and tag != "resumed.trainer.max_epochs"]


def test_files_are_next_to_the_database_and_not_in_the_working_folder(run: RunFolder, store: Path) -> None:
    with opened(run, ONLY) as trackers:
        log_epochs(trackers, 0)
    _, one = stored(f"sqlite:///{store}")
    assert one.info.artifact_uri == f"{(store.parent / 'mlartifacts').as_uri()}/{one.info.run_id}/artifacts"
    assert not Path("mlruns").exists()


def test_a_store_without_the_run_gets_a_new_one(run: RunFolder, store: Path, empty_store: Path) -> None:
    with opened(run, ONLY) as trackers:
        log_epochs(trackers, 0)
    shutil.copy(store, store.with_name("other.db"))
    other = ONLY.model_copy(update={"mlflow_uri": f"sqlite:///{store.with_name('third.db')}"})
    shutil.copy(empty_store, store.with_name("third.db"))
    with opened(run, other) as trackers:
        log_epochs(trackers, 1)
    assert history(other.mlflow_uri or "", "val/top1") == [(12, 0.625)]


def test_what_is_too_much_for_one_request_is_shared_out(run: RunFolder, store: Path) -> None:
    weights = {f"class {number}": 1.5 for number in range(1000)}
    data = {"balance": "sampler", "balance_weighting": "manual", "class_weights": weights}
    with opened(run, ONLY, data=data) as trackers:
        log_epochs(trackers, 0)
    params = stored(f"sqlite:///{store}")[1].data.params
    assert len(params["data.class_weights"]) == 6000
    assert params["data.class_weights"].startswith('{"class 0": 1.5, ')


def test_more_settings_than_a_request_takes(run: RunFolder, store: Path) -> None:
    from classifier_training.tracking.opening import open_trackers

    with open_trackers(ONLY, run, {"many": {f"setting{number}": number for number in range(250)}}):
        pass
    params = stored(f"sqlite:///{store}")[1].data.params
    assert params == {f"many.setting{number}": str(number) for number in range(250)}


def test_what_is_not_a_number_is_kept(run: RunFolder, store: Path) -> None:
    with opened(run, ONLY) as trackers:
        trackers.log_metrics({"val/loss": math.nan}, step=6, epoch=0)
    ((step, value),) = history(f"sqlite:///{store}", "val/loss")
    assert step == 6
    assert math.isnan(value)


def test_a_destroyed_database_is_one_warning_and_stops_nothing(run: RunFolder, store: Path) -> None:
    trackers = opened(run, ONLY)
    log_epochs(trackers, 0)
    store.write_bytes(b"no database any more" * 1000)
    with pytest.warns(UserWarning, match=r"^stopped sending this run to MLflow; the run continues: .*") as warned:
        log_epochs(trackers, 1)
    assert len(warned) == 1
    log_epochs(trackers, 2)
    trackers.finish(RESULTS, None)
    trackers.close()


def test_the_library_does_not_report_to_its_makers(
    run: RunFolder, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    with opened(run, ONLY):
        pass
    import mlflow.environment_variables

    variable: Any = mlflow.environment_variables.MLFLOW_DISABLE_TELEMETRY
    assert variable.get() is True


@pytest.mark.parametrize("uri", ["nonsense://somewhere", "http://me:secret@127.0.0.1:9"])
def test_an_address_of_nothing_leaves_it_out(run: RunFolder, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.warns(UserWarning, match=r"^stopped sending this run to MLflow; the run continues: ") as warned:
        trackers = opened(run, ONLY)
    assert "secret" not in str(warned[0].message)
    log_epochs(trackers, 0)
    trackers.close()
    assert not run.trackers.exists()
