"""MLflow: a run in a local SQLite or file store, or on a server."""

from __future__ import annotations

import itertools
import logging
import os
import re
import shlex
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from classifier_training.files.credentials import without_credentials
from classifier_training.files.text import plain_text
from classifier_training.run.folder import RunFolder
from classifier_training.tracking.memory import TrackerMemory
from classifier_training.tracking.tracker import Figure, ModelFile, TrackerContext
from classifier_training.tracking.values import Value

NAME = "mlflow"
URI_VARIABLE = "MLFLOW_TRACKING_URI"
MAX_BATCH = 100  # parameters and tags in one request
MAX_VALUE_LENGTH = 6000  # characters of a parameter
LIBRARY_VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",  # without it MLflow 3 refuses a store of files that the user has named
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",  # seconds, instead of 120
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # instead of 7, which take minutes
}
"""Set before the library is imported, where the user has not set them."""


class MLflowTracker:
    """One run of MLflow; a resumed run continues it.

    Values cannot be removed there, so an epoch that is trained again after a resume keeps the values it had; a setting
    that a resume has changed is a tag ``resumed.<setting>``, because parameters cannot be changed either.

    Args:
        context: The memory has the id; the settings of tracking have the experiment and the address of the store.
    """

    def __init__(self, context: TrackerContext) -> None:
        run, tracking = context.run, context.tracking
        for name, value in LIBRARY_VARIABLES.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):  # they log on the terminal how they create their tables
            logging.getLogger(name).setLevel(logging.WARNING)
        parent = run.root.parent.resolve()
        uri = tracking.mlflow_uri or os.environ.get(URI_VARIABLE) or f"sqlite:///{parent / 'mlflow.db'}"
        shown = without_credentials(uri)
        self._client = MlflowClient(tracking_uri=uri)
        self._run_id, experiment_id = self._start(run, context.memory, shown, tracking.project, parent)
        names = self._client.get_run(self._run_id).data.metrics  # of the values that an earlier process has logged
        self._logged = {
            (name, value.step) for name in names for value in self._client.get_metric_history(self._run_id, name)
        }
        self._log_settings(context.settings)
        how_to_open = f"mlflow ui --backend-store-uri {shlex.quote(shown)}"
        if shown.lower().startswith(("http://", "https://")):
            how_to_open = f"{shown.rstrip('/')}/#/experiments/{experiment_id}/runs/{self._run_id}"
        self.message = f"MLflow: {how_to_open}"

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Adds the values that are not logged yet."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        new = [Metric(name, value, now, step) for name, value in metrics.items() if (name, step) not in self._logged]
        if new:
            self._client.log_batch(self._run_id, metrics=new)

    def log_figures(self, figures: Sequence[Figure], step: int) -> None:  # noqa: ARG002 - an artifact has no steps
        """Logs the figures as artifacts; each replaces the one before."""
        with tempfile.TemporaryDirectory(prefix="classifier-training-") as folder:
            for figure in figures:
                name = Path(f"{figure.name}.png")
                file = Path(folder) / name.name
                file.write_bytes(figure.png)
                self._log_file(file, name.parent)

    def log_scores(self, scores: Mapping[str, float], step: int) -> None:
        """Adds the scores as metrics."""
        self.log_metrics(scores, step)

    def log_model(self, model: ModelFile) -> None:
        """Logs the model as an artifact, and its hash as a tag."""
        self._client.set_tag(self._run_id, "model.sha256", model.sha256)
        self._log_file(model.path, Path("model"))

    def close(self, *, succeeded: bool) -> None:
        """Sets the state of the run."""
        self._client.set_terminated(self._run_id, "FINISHED" if succeeded else "KILLED")

    def _start(self, run: RunFolder, memory: TrackerMemory, uri: str, project: str, parent: Path) -> tuple[str, str]:
        """The ids of the run and of its experiment: those of an earlier process, or new ones."""
        known = memory.of(NAME)
        if known.get("uri") == uri and (found := self._find_run(known.get("run_id", ""))) is not None:
            self._client.update_run(found.info.run_id, status="RUNNING")
            return found.info.run_id, found.info.experiment_id
        if (experiment := self._client.get_experiment_by_name(project)) is not None:
            experiment_id = experiment.experiment_id
        else:
            experiment_id = self._client.create_experiment(project, artifact_location=_artifact_location(uri, parent))
        created = self._client.create_run(experiment_id, run_name=plain_text(run.root.name))
        memory.update(NAME, uri=uri, run_id=created.info.run_id)
        return created.info.run_id, experiment_id

    def _find_run(self, run_id: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return found if found.info.lifecycle_stage == "active" else None

    def _log_settings(self, settings: Mapping[str, Value]) -> None:
        from mlflow.entities import Param, RunTag

        logged = self._client.get_run(self._run_id).data.params
        values = {name: str(value)[:MAX_VALUE_LENGTH] for name, value in settings.items()}
        for names in _batches(name for name in values if name not in logged):
            self._client.log_batch(self._run_id, params=[Param(name, values[name]) for name in names])
        for names in _batches(name for name, value in values.items() if logged.get(name, value) != value):
            tags = [RunTag(f"resumed.{name}", values[name]) for name in names]
            self._client.log_batch(self._run_id, tags=tags)

    def _log_file(self, file: Path, folder: Path) -> None:
        self._client.log_artifact(self._run_id, str(file), None if folder == Path() else folder.as_posix())


def _batches(names: Iterable[str]) -> Iterable[tuple[str, ...]]:
    rest = iter(names)
    while batch := tuple(itertools.islice(rest, MAX_BATCH)):
        yield batch


def _artifact_location(uri: str, parent: Path) -> str | None:
    """The folder of artifacts next to a database; None where the store decides."""
    database = re.match(r"(sqlite|postgresql|mysql|mssql)(\+\w+)?://", uri)
    if database is None:
        return None
    file = uri[database.end() + 1 :].partition("?")[0] if database.group(1) == "sqlite" else ""
    return ((Path(file).resolve().parent if file else parent) / "mlartifacts").as_uri()
