"""Everything that a page shows of a run or an evaluation, read from its folder whatever state that is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from classifier_training.pages.read.curves import Curves, read_curves
from classifier_training.pages.read.files_inside import LARGEST_FIGURE_BYTES, FilesInside
from classifier_training.pages.read.model_data import (
    ModelInfo,
    OnnxFile,
    Verification,
    read_model_info,
    read_onnx,
    read_verification,
)
from classifier_training.pages.read.photo_data import (
    SamplerDistribution,
    Statistics,
    read_sampler_distribution,
    read_statistics,
)
from classifier_training.pages.read.reading import DamagedFileError, Fields, Reader, plain_value, read_json
from classifier_training.pages.read.run_place import is_evaluation
from classifier_training.pages.read.run_settings import plain_name, read_settings, setting, shell_command
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.read.scored_files import read_scored, scores_of_results
from classifier_training.run.folder import RunFolder, ScoredFolder

Status = Literal["finished", "training", "evaluation"]
PROGRAM = "classifier-training"


@dataclass(frozen=True, slots=True, eq=False)
class RunData:
    """A run or an evaluation.

    Attributes:
        root: Its folder.
        name: The folder's name.
        status: ``finished``; ``training``: not finished, running or stopped; ``evaluation``: no run, scores alone.
        config: The resolved configuration by section; empty where it is not known.
        environment: Versions, hardware, seed; empty where it is not known.
        classes: K names; empty where nothing tells them.
        num_epochs: Epochs that are done.
        max_epochs: Epochs that are wanted; None where it is not known.
        metrics: Scores and losses by epoch.
        timings: ``seconds`` and ``images_per_second`` by epoch.
        results: ``results.json`` as it is; empty while the run is not finished.
        seconds: How long the training took, over all processes of a resumed run; None where it is not known.
        monitor: The metric that decides which epoch is the best.
        best_epoch: From 0; None before the first validation.
        best_score: The monitored metric of that epoch.
        final: The scores that the run is judged by: of the test split, or of the validation split where there is no
            other; of an evaluation its scores. None while the run is not finished.
        validation: Of the latest validated epoch.
        statistics: What the photos are like; None where it is not known, as all that follows.
        sampler: What was drawn.
        model_info: How large and fast the model is.
        verification: Whether the export answers like the model.
        onnx: The exported file.
        train_batch: The figure of training images as the model got them; None where there is none.
        commands: What to type, by ``repeat``, ``resume``, ``evaluate``, ``predict``; quoted for a shell.
        missing: One sentence for each thing that is not there or cannot be read.
    """

    root: Path
    name: str
    status: Status
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    classes: tuple[str, ...]
    num_epochs: int
    max_epochs: int | None
    metrics: Curves
    timings: Curves
    results: Mapping[str, Any]
    seconds: float | None
    monitor: str
    best_epoch: int | None
    best_score: float | None
    final: ScoredData | None
    validation: ScoredData | None
    statistics: Statistics | None
    sampler: SamplerDistribution | None
    model_info: ModelInfo | None
    verification: Verification | None
    onnx: OnnxFile | None
    train_batch: Path | None
    commands: Mapping[str, str]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Results:
    """What ``results.json`` tells.

    Attributes:
        values: All of it.
        monitor: The metric that decided.
        num_epochs: Epochs that were trained.
        seconds: How long that took.
        best_epoch: From 0.
        best_score: Its monitored metric.
        split: Which split the final scores are of.
    """

    values: Mapping[str, Any]
    monitor: str
    num_epochs: int
    seconds: float
    best_epoch: int
    best_score: float
    split: Literal["test", "val"]


def read_run(path: Path, *, with_predictions: bool = False) -> RunData:
    """Reads a run folder or an evaluation folder.

    What is missing, half-written, damaged or of another version is left out and told in `RunData.missing`.

    Args:
        path: A run folder, or a folder with ``scores.json`` at its root.
        with_predictions: Read what was said of each image, too; a large test set has hundreds of megabytes of it.

    Raises:
        RunError: There is no such folder, or neither a run nor an evaluation in it.
    """
    if is_evaluation(path):
        return _read_evaluation(path, with_predictions=with_predictions)
    return _read_run(RunFolder(path), with_predictions=with_predictions)


def _read_evaluation(path: Path, *, with_predictions: bool) -> RunData:
    reader = Reader(path)
    scored = read_scored(reader, ScoredFolder(path), with_predictions=with_predictions)
    run = RunFolder(path)
    return RunData(
        root=path,
        name=plain_name(path),
        status="evaluation",
        config={},
        environment=reader.read(run.environment, _read_environment) or {},
        classes=() if scored is None else scored.classes,
        num_epochs=0,
        max_epochs=None,
        metrics=Curves(),
        timings=Curves(),
        results={},
        seconds=None,
        monitor="val/top1",
        best_epoch=None,
        best_score=None,
        final=scored,
        validation=None,
        statistics=None,
        sampler=None,
        model_info=None,
        verification=None,
        onnx=None,
        train_batch=None,
        commands={},
        missing=tuple(reader.missing),
    )


def _read_run(run: RunFolder, *, with_predictions: bool) -> RunData:
    reader = Reader(run.root)
    config = reader.read(run.config, read_settings) or {}
    metrics = reader.read(run.metrics, read_curves, "there are no curves") or Curves()
    results = reader.read(run.results, _read_results)
    if results is not None and metrics.epochs and metrics.epochs[-1] >= results.num_epochs:
        results = None  # it was resumed since, and is trained on
    final, validation = _read_scores(reader, run, results, with_predictions=with_predictions)
    statistics = reader.read(run.statistics, read_statistics, "it is not shown what the photos are like")
    sampler = reader.read(run.sampler_distribution, read_sampler_distribution, "it is not shown what was drawn")
    verification, onnx = _read_export(reader, run, config, results)
    monitor = results.monitor if results else str(setting(config, "checkpoint", "monitor") or "val/top1")
    best = (results.best_epoch, results.best_score) if results else _best(metrics, monitor)
    timings = reader.read(run.timings, read_curves) or Curves()
    max_epochs = setting(config, "trainer", "max_epochs")
    return RunData(
        root=run.root,
        name=plain_name(run.root),
        status="training" if results is None else "finished",
        config=config,
        environment=reader.read(run.environment, _read_environment, "it is not known what it was trained with") or {},
        classes=next((one.classes for one in (final, validation, statistics, sampler) if one is not None), ()),
        num_epochs=results.num_epochs if results else metrics.epochs[-1] + 1 if metrics.epochs else 0,
        max_epochs=max_epochs if isinstance(max_epochs, int) else None,
        metrics=metrics,
        timings=timings,
        results=results.values if results else {},
        seconds=(_trained_seconds(timings) or results.seconds) if results else None,
        monitor=monitor,
        best_epoch=best[0],
        best_score=best[1],
        final=final,
        validation=validation,
        statistics=statistics,
        sampler=sampler,
        model_info=reader.read(run.model_info, read_model_info, "it is not known how large and fast the model is"),
        verification=verification,
        onnx=onnx,
        train_batch=FilesInside(run.root).find(f"{run.plots.name}/{run.train_batch.name}", LARGEST_FIGURE_BYTES),
        commands=_commands(run, is_finished=results is not None, is_exported=onnx is not None),
        missing=tuple(reader.missing),
    )


def _read_scores(
    reader: Reader, run: RunFolder, results: _Results | None, *, with_predictions: bool
) -> tuple[ScoredData | None, ScoredData | None]:
    """The final scores and those of the latest validation."""
    is_final = results is None or results.split == "val"  # or what an unfinished run is judged by
    absent = "what the model said of each validation image is not shown"
    validation = read_scored(reader, run.scored("val"), with_predictions=with_predictions and is_final, absent=absent)
    if results is None:
        return None, validation
    final = validation
    if results.split == "test":
        absent = "images, intervals and calibration of the test split are not shown"
        final = read_scored(reader, run.scored("test"), with_predictions=with_predictions, absent=absent)
    if final is not None and final.epoch not in {None, results.best_epoch}:
        name = reader.name(run.scored(results.split).scores)
        reader.missing.append(f"{name} is of another epoch than results.json, and only the scores of that are shown")
        final = None
    if final is None:
        values, split, epoch = results.values.get(results.split), results.split, results.best_epoch
        final = reader.read(run.results, lambda _: scores_of_results(run.root, values, split=split, epoch=epoch))
    return final, validation


def _read_export(
    reader: Reader, run: RunFolder, config: Mapping[str, Any], results: _Results | None
) -> tuple[Verification | None, OnnxFile | None]:
    """The export and its proof; one of the weights of another epoch, from before a resume, proves nothing."""
    is_finished = results is not None
    is_wanted = is_finished and setting(config, "export", "enabled") is not False
    verification = reader.read(
        run.verification,
        read_verification,
        "it is not known whether the export answers like the model" if is_wanted else None,
    )
    look = partial(read_onnx, verification=verification, is_finished=is_finished)
    onnx = reader.read(run.onnx, look, "there is no exported model" if is_wanted else None)
    if onnx is not None and verification is not None and results is not None:
        epoch = verification.values.get("epoch")
        is_of_best = epoch is None or epoch == results.best_epoch
        onnx = replace(onnx, is_proven=onnx.is_proven and is_of_best)
    return verification, onnx


def _read_results(path: Path) -> _Results:
    fields = Fields(read_json(path))
    monitor, best = fields.text("monitor"), fields.object("best")
    return _Results(
        values=plain_value(fields.values),
        monitor=monitor,
        num_epochs=fields.count("epochs"),
        seconds=fields.number("seconds"),
        best_epoch=best.count("epoch"),
        best_score=best.number(monitor),
        split="test" if "test" in fields.values else "val",
    )


def _read_environment(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = plain_value(Fields(read_json(path)).values)
    kinds: dict[str, type] = {"versions": dict, "cpu": dict, "gpus": list, "command": list}
    wrong = [name for name, kind in kinds.items() if name in values and not isinstance(values[name], kind)]
    if wrong:
        raise DamagedFileError(f"holds something else as {wrong[0]} than this version reads")
    return values


def _best(metrics: Curves, monitor: str) -> tuple[int, float] | tuple[None, None]:
    return metrics.best(monitor, is_lower_better=monitor.endswith("loss")) or (None, None)


def _trained_seconds(timings: Curves) -> float:
    """What all epochs took together; ``results.json`` knows the last process of a resumed run alone."""
    return sum(seconds for seconds in timings.columns.get("seconds", ()) if seconds is not None)


def _commands(run: RunFolder, *, is_finished: bool, is_exported: bool) -> dict[str, str]:
    root = run.root.resolve()
    commands = {"repeat": shell_command(PROGRAM, "train", "--config", root / run.config.name)}
    if not is_finished:
        commands["resume"] = shell_command(PROGRAM, "train", "--resume", root)
    if run.best_checkpoint.is_file():
        commands["evaluate"] = shell_command(PROGRAM, "evaluate", root)
    if is_exported:
        commands["predict"] = shell_command(PROGRAM, "predict", root / "export" / "model.onnx", "PICTURES")
    return commands
