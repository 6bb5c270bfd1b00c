"""Everything that a page shows of a run or an evaluation, read from its folder in any state."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from classifier_training.pages.read.curves import Curves, read_curves
from classifier_training.pages.read.files_inside import LARGEST_FIGURE_BYTES, FilesInside
from classifier_training.pages.read.folder_kind import is_evaluation
from classifier_training.pages.read.reading import Reader, plain_value
from classifier_training.pages.read.run_settings import plain_name, read_settings, setting, shell_command
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.read.scored_files import read_scored, scores_of_results
from classifier_training.results.decision_file import DecisionRecord
from classifier_training.results.final_choice import FinalChoice
from classifier_training.results.folds_file import FoldsFile
from classifier_training.results.results_file import ReplacedBest, Reproduction, ResultsFile, TemperatureRecord
from classifier_training.results.unknown_file import UnknownRecord
from classifier_training.run.environment import Environment
from classifier_training.run.events import Events
from classifier_training.run.folder import RunFolder, ScoredFolder
from classifier_training.run.folds_folder import FoldsFolder
from classifier_training.run.lr_range import RangeTest, read_range_test
from classifier_training.run.model_info import ModelInfo
from classifier_training.run.plan_record import PlanRecord
from classifier_training.run.probe import ProbeRecord
from classifier_training.run.sampler_distribution import SamplerDistribution, read_sampler_distribution
from classifier_training.run.statistics import Statistics
from classifier_training.run.teacher_scores import TeacherScores
from classifier_training.run.time_spent import TimeSpent
from classifier_training.run.verification import Verification

Status = Literal["finished", "training", "evaluation"]
PROGRAM = "classifier-training"


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """The exported model.

    Attributes:
        path: The file.
        size: Bytes.
        sha256: Of the file as it is now; None while the run is trained.
        is_verified: Whether this very file passed the comparison with the trained model.
    """

    path: Path
    size: int
    sha256: str | None
    is_verified: bool


@dataclass(frozen=True, slots=True, eq=False)
class RunData:
    """A run or an evaluation.

    Attributes:
        root: Its folder.
        name: The folder's name.
        status: ``finished``; ``training``: not finished, running or stopped; ``evaluation``: only scores.
        config: The resolved configuration by section; empty where it is not known.
        environment: Versions, hardware, seed; empty where it is not known.
        classes: K names; empty where they are not known.
        num_epochs: Finished epochs.
        max_epochs: Epochs to train; None where it is not known.
        metrics: Scores and losses by epoch.
        timings: ``seconds`` and ``images_per_second`` by epoch.
        seconds: How long the training took, over all processes of a resumed run; None where it is not known.
        monitor: The metric that decides which epoch is the best.
        best_epoch: From 0; None before the first validation.
        best_score: The monitored metric of that epoch.
        final: The scores on the test split, or on the validation split where there is no test split; the scores of an
            evaluation. None while the run is not finished.
        validation: Of the latest validated epoch.
        statistics: Counts and sizes of the photos; None where they are not known, like all that follows.
        sampler: How often each class was sampled.
        model_info: Size and speed of the model.
        reproduction: Whether ``best.ckpt`` has reproduced the monitored metric.
        replaced_best: What was recorded of the best weights, where ``best.ckpt`` holds others.
        choice: Of the final weights among several candidates; None where there was none.
        temperature: Of the probabilities of the final weights; None where none was asked for.
        decision: The thresholds of the final weights; None where there are none.
        unknown: The unknown score of the final weights; None where none was asked for.
        probe: The linear probe that was fitted before the first epoch; None where there was none.
        time: What its time was spent on.
        plan: How it is trained.
        events: What happened besides its epochs.
        teacher: The scores of the model that it learned from.
        lr_range: The range test of the learning rate; None where there was none.
        verification: The comparison of the exported file with the model.
        onnx: The exported file.
        exports: The comparison of the file of each other form, by its name.
        train_batch: The figure of the first training batch; None where it is missing.
        folds: The runs of a cross-validation.
        commands: Shell commands, by ``repeat``, ``resume``, ``evaluate``, ``predict``.
        missing: One sentence for each file that is missing or cannot be read.
    """

    root: Path
    name: str
    status: Status
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    num_epochs: int = 0
    max_epochs: int | None = None
    metrics: Curves = field(default_factory=Curves)
    timings: Curves = field(default_factory=Curves)
    seconds: float | None = None
    monitor: str = "val/top1"
    best_epoch: int | None = None
    best_score: float | None = None
    final: ScoredData | None = None
    validation: ScoredData | None = None
    statistics: Statistics | None = None
    sampler: SamplerDistribution | None = None
    model_info: ModelInfo | None = None
    reproduction: Reproduction | None = None
    replaced_best: ReplacedBest | None = None
    choice: FinalChoice | None = None
    temperature: TemperatureRecord | None = None
    decision: DecisionRecord | None = None
    unknown: UnknownRecord | None = None
    probe: ProbeRecord | None = None
    time: TimeSpent | None = None
    plan: PlanRecord | None = None
    events: Events | None = None
    teacher: TeacherScores | None = None
    lr_range: RangeTest | None = None
    verification: Verification | None = None
    onnx: OnnxFile | None = None
    exports: Mapping[str, Verification] = field(default_factory=dict)
    train_batch: Path | None = None
    folds: FoldsFile | None = None
    commands: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def scored(self) -> ScoredData | None:
        """The final scores, or those of the latest validation so far."""
        return self.final or self.validation


def read_run(path: Path, *, with_predictions: bool = False) -> RunData:
    """Reads a run folder or an evaluation folder.

    What is missing, half-written, damaged or of another version is left out, with a sentence in `RunData.missing`.

    Args:
        path: A run folder, or a folder with ``scores.json`` at its root.
        with_predictions: Read the prediction of each image, too.

    Raises:
        RunError: The folder does not exist, or holds neither a run nor an evaluation.
    """
    if is_evaluation(path):
        return _read_evaluation(path, with_predictions=with_predictions)
    return _read_run(RunFolder(path), with_predictions=with_predictions)


def _read_evaluation(path: Path, *, with_predictions: bool) -> RunData:
    reader = Reader(path)
    scored = read_scored(reader, ScoredFolder(path), with_predictions=with_predictions)
    return RunData(
        root=path,
        name=plain_name(path),
        status="evaluation",
        environment=_read_environment(reader, RunFolder(path)),
        classes=() if scored is None else scored.classes,
        final=scored,
        folds=reader.record(FoldsFolder(path).summary, FoldsFile),
        missing=tuple(reader.missing),
    )


def _read_run(run: RunFolder, *, with_predictions: bool) -> RunData:
    reader = Reader(run.root)
    config = reader.read(run.config, read_settings) or {}
    metrics = reader.read(run.metrics, read_curves, "there are no curves") or Curves()
    results = _read_results(reader, run, metrics)
    final, validation = _read_scores(reader, run, results, with_predictions=with_predictions)
    statistics = reader.record(run.statistics, Statistics, "counts and sizes of the photos are not shown")
    sampler = reader.read(run.sampler_distribution, read_sampler_distribution, "the sampled photos are not shown")
    verification, onnx = _read_export(reader, run, config, results)
    monitor, best_epoch, best_score = _best(results, metrics, config)
    timings = reader.read(run.timings, read_curves) or Curves()
    return RunData(
        root=run.root,
        name=plain_name(run.root),
        status="training" if results is None else "finished",
        config=config,
        environment=_read_environment(reader, run, "versions and hardware are not known"),
        classes=next((one.classes for one in (final, validation, statistics, sampler) if one is not None), ()),
        num_epochs=results.epochs if results else metrics.epochs[-1] + 1 if metrics.epochs else 0,
        max_epochs=_max_epochs(config),
        metrics=metrics,
        timings=timings,
        seconds=(sum(timings.known("seconds")) or results.seconds) if results else None,  # of all processes of a run
        monitor=monitor,
        best_epoch=best_epoch,
        best_score=best_score,
        final=final,
        validation=validation,
        statistics=statistics,
        sampler=sampler,
        **{name: getattr(results, name, None) for name in ("reproduction", "replaced_best", "choice", "temperature")},
        **{name: getattr(results, name, None) for name in ("decision", "unknown")},
        **_read_records(reader, run),
        verification=verification,
        onnx=onnx,
        exports=_read_other_exports(reader, run),
        train_batch=FilesInside(run.root).find(f"{run.plots.name}/{run.train_batch.name}", LARGEST_FIGURE_BYTES),
        commands=_commands(run, is_finished=results is not None, is_exported=onnx is not None),
        missing=tuple(reader.missing),
    )


def _read_records(reader: Reader, run: RunFolder) -> dict[str, Any]:
    """What is shown as it was recorded, by the names of `RunData`; a run has only the files of what it did."""
    return {
        "model_info": reader.record(run.model_info, ModelInfo, "size and speed of the model are not known"),
        "plan": reader.record(run.plan, PlanRecord),
        "events": reader.record(run.events, Events),
        "time": reader.record(run.time, TimeSpent),
        "probe": reader.record(run.probe, ProbeRecord),
        "lr_range": reader.read(run.lr_range, read_range_test),
        "teacher": reader.record(run.teacher, TeacherScores),
    }


def _read_results(reader: Reader, run: RunFolder, metrics: Curves) -> ResultsFile | None:
    """The end of the training; None where it was resumed since, and is trained further."""
    results = reader.record(run.results, ResultsFile)
    is_resumed = results is not None and metrics.epochs and metrics.epochs[-1] >= results.epochs
    return None if is_resumed else results


def _max_epochs(config: Mapping[str, Any]) -> int | None:
    max_epochs = setting(config, "trainer", "max_epochs")
    return max_epochs if isinstance(max_epochs, int) else None


def _best(
    results: ResultsFile | None, metrics: Curves, config: Mapping[str, Any]
) -> tuple[str, int | None, float | None]:
    """The monitored metric, the best epoch and its value."""
    if results is not None:
        return results.monitor, results.best_epoch, results.best_score
    monitor = str(setting(config, "checkpoint", "monitor") or "val/top1")
    return monitor, *(metrics.best(monitor, is_lower_better=monitor.endswith("loss")) or (None, None))


def _read_scores(
    reader: Reader, run: RunFolder, results: ResultsFile | None, *, with_predictions: bool
) -> tuple[ScoredData | None, ScoredData | None]:
    """The final scores and those of the latest validation."""
    is_shown = results is None or results.split == "val"  # the final scores, or those of an unfinished run
    absent = "predictions of the validation photos are not shown"
    validation = read_scored(reader, run.scored("val"), with_predictions=with_predictions and is_shown, absent=absent)
    if results is None:
        return None, validation
    final = validation
    if results.split == "test":
        absent = "images, intervals and calibration of the test split are not shown"
        final = read_scored(reader, run.scored("test"), with_predictions=with_predictions, absent=absent)
    if final is not None and final.epoch not in {None, results.best_epoch}:
        name = reader.name(run.scored(results.split).scores)
        reader.missing.append(f"{name} is of another epoch than results.json; only the scores in that are shown")
        final = None
    if final is None and results.final is not None:
        final = scores_of_results(run.root, results.final, split=results.split, epoch=results.best_epoch)
    return final, validation


def _read_export(
    reader: Reader, run: RunFolder, config: Mapping[str, Any], results: ResultsFile | None
) -> tuple[Verification | None, OnnxFile | None]:
    """The exported model and its verification."""
    is_expected = results is not None and setting(config, "export", "enabled") is not False
    absent = "it is not known whether the exported model is correct" if is_expected else None
    verification = reader.record(run.verification, Verification, absent)

    def read_onnx(path: Path) -> OnnxFile:
        size = path.stat().st_size
        if results is None:  # not worth reading for its hash, and of another epoch than the best one
            return OnnxFile(path, size, None, is_verified=False)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        is_of_best = verification is not None and verification.epoch in (None, results.best_epoch)
        is_passed = verification is not None and verification.passed and verification.sha256 == digest
        return OnnxFile(path, size, digest, is_verified=is_passed and is_of_best)

    return verification, reader.read(run.onnx, read_onnx, "there is no exported model" if is_expected else None)


def _read_other_exports(reader: Reader, run: RunFolder) -> dict[str, Verification]:
    """The comparisons of the forms that a user has exported besides ``onnx``."""
    paths = [path for path in sorted(run.export.glob("verification*.json")) if path != run.verification]
    records = [
        (path.stem.removeprefix("verification").lstrip("._"), reader.record(path, Verification)) for path in paths
    ]
    return {record.form or name: record for name, record in records if record is not None}


def _read_environment(reader: Reader, run: RunFolder, absent: str | None = None) -> dict[str, Any]:
    """The known values of the environment; None is a known value of two of them."""
    environment = reader.record(run.environment, Environment, absent)
    values = {} if environment is None else plain_value(asdict(environment))
    return {key: value for key, value in values.items() if value is not None or key in {"git_commit", "cuda"}}


def _commands(run: RunFolder, *, is_finished: bool, is_exported: bool) -> dict[str, str]:
    root = run.root.resolve()
    commands = {"repeat": shell_command(PROGRAM, "train", "--config", root / run.config.name)}
    if not is_finished:
        commands["resume"] = shell_command(PROGRAM, "train", "--resume", root)
    if run.best_checkpoint.is_file():
        commands["evaluate"] = shell_command(PROGRAM, "evaluate", root)
    if is_exported:
        commands["predict"] = shell_command(PROGRAM, "predict", root / "export" / "model.onnx", "PHOTOS")
    return commands
