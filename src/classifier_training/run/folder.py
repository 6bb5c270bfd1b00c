"""The run folder: one table of the paths of a run and their meanings; `run.tree` makes text of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, overload

from classifier_training.errors import RunError
from classifier_training.files.text import as_it_is, is_folder

END_TO_END: Final = "end-to-end"
"""The form of an export whose file begins with the pixels of an image and ends with a label."""
TORCH_EXPORT: Final = "torch-export"
OPENVINO: Final = "openvino"
OPENVINO_SUFFIX: Final = ".xml"
DEPLOYED_SUFFIXES: Final = (".onnx", OPENVINO_SUFFIX)
"""What the names of the exported files end in that `predict` and `evaluate` read, without torch."""
FP16: Final = "fp16"
"""The form of an export whose weights and values have 16 bits."""
INT8: Final = "int8"
"""The form of an export whose layers compute with 8-bit integers."""


class Entry:
    """One row of the table: a file or folder and its meaning; read from an instance it is the path.

    Args:
        path: Relative to the root; a folder ends in ``/``, and ``*`` stands for any text.
        meaning: What it holds, for the list of files that a training prints and for the documentation.
    """

    def __init__(self, path: str, meaning: str) -> None:
        self.path = path
        self.meaning = meaning
        self.__doc__ = f"{meaning[0].upper()}{meaning[1:]}."

    @overload
    def __get__(self, folder: None, owner: type) -> Entry: ...

    @overload
    def __get__(self, folder: RunFolder | ScoredFolder | ExportFolder, owner: type) -> Path: ...

    def __get__(self, folder: RunFolder | ScoredFolder | ExportFolder | None, owner: type) -> Entry | Path:
        return self if folder is None else folder.root / self.path

    def inside(self, folder: str) -> Entry:
        """The same row in the table of the folder above."""
        return Entry(f"{folder}{self.path}", self.meaning)


@dataclass(frozen=True, slots=True)
class ScoredFolder:
    """The paths of one pass of a model over labelled images: a run's ``val/`` or ``test/``, or an evaluation.

    Making the object touches no disk.
    """

    root: Path

    scores = Entry("scores.json", "the scores with their intervals, and the model and images they belong to")
    predictions = Entry("predictions.csv", "the prediction for each image")
    probabilities = Entry("probabilities.npy", "the probability of every class, a row for each row of predictions.csv")
    confusion = Entry("confusion_matrix.csv", "how often each class was predicted as each class")
    confusion_figure = Entry("confusion_matrix.png", "the confusion matrix as a figure")
    normalized_confusion_figure = Entry("confusion_matrix_normalized.png", "the same as shares of the true class")
    images = Entry("pictures.json", "which images the report shows, and why")
    thumbnails = Entry("pictures/", "small images for the report")
    samples_figure = Entry("samples.png", "some images with their predictions")
    worst_errors_figure = Entry("worst_errors.png", "the errors with the highest loss")
    least_certain_figure = Entry("least_certain.png", "the images with the least certain predictions")

    def remove_examples(self) -> None:
        """Removes the figures, and the list of images, which belong to other scores."""
        for path in (self.images, *self.root.glob("*.png")):
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class ExportFolder:
    """The paths of an exported model in each of its forms. Making the object touches no disk."""

    root: Path

    onnx = Entry("model.onnx", "the model to deploy, best.ckpt as ONNX")
    labels_mapping = Entry("labels_mapping.json", "class names and preprocessing")
    verification = Entry("verification.json", "the comparison of model.onnx with best.ckpt")
    end_to_end = Entry("model_e2e.onnx", "export --form end-to-end: from the pixels of an image to a label")
    end_to_end_verification = Entry("verification_e2e.json", "the comparison of model_e2e.onnx with best.ckpt")
    fp16 = Entry("model_fp16.onnx", "export --form fp16: half the size")
    fp16_verification = Entry("verification_fp16.json", "the comparison of model_fp16.onnx with best.ckpt")
    int8 = Entry("model_int8.onnx", "export --form int8: quantised to 8 bits")
    int8_verification = Entry(
        "verification_int8.json", "the schemes that were tried for model_int8.onnx, and its figures"
    )
    weights = Entry("model.safetensors", "the weights for timm, of export --form safetensors")
    timm_config = Entry("config.json", "what timm needs to build the model of these weights")
    program = Entry("model.pt2", "export --form torch-export: for PyTorch, without this package")
    openvino = Entry("model.xml", "export --form openvino: for OpenVINO's runtime, with model.bin")
    openvino_weights = Entry("model.bin", "the weights of model.xml")
    card = Entry("model_card.md", "the model card: data, scores, training, hashes; written by export")
    card_data = Entry("model_card.json", "the same for programs, with the fields that a person fills in")
    readme = Entry("README.md", "the model card under the name that a hub shows")

    def model(self, form: str) -> Path:
        """The model in the form of that name."""
        named = {
            END_TO_END: self.end_to_end,
            FP16: self.fp16,
            INT8: self.int8,
            TORCH_EXPORT: self.program,
            OPENVINO: self.openvino,
        }
        return named.get(form, self.root / f"model.{form}")

    def verification_of(self, form: str) -> Path:
        """The figures of the comparison of that form with the trained model."""
        named = {
            END_TO_END: self.end_to_end_verification,
            FP16: self.fp16_verification,
            INT8: self.int8_verification,
        }
        other = self.verification if self.model(form) == self.onnx else self.root / f"verification.{form}.json"
        return named.get(form, other)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of one run. Making the object touches no disk."""

    root: Path

    config = Entry("config.yaml", "the resolved configuration; train --config repeats the run")
    environment = Entry("environment.json", "versions, git commit, hardware, seed, data fingerprint")
    results = Entry("results.json", "the scores, per class too, and the exports")
    report = Entry("report.html", "everything on one page, updated after each epoch")
    plan = Entry("plan.json", "how the run trains, as the terminal showed it")
    events = Entry("events.json", "what happened besides the epochs: stops, resumes, memory that ran out")
    metrics = Entry("metrics.csv", "one row per epoch: loss, scores, learning rate; identical when repeated")
    timings = Entry("timings.csv", "one row per epoch: seconds and images per second")
    model_info = Entry("model_info.json", "parameters, FLOPs, size and latency of the model")
    probe = Entry("probe.json", "the linear probe: its strength, by cross-validation within the training images")
    teacher = Entry("teacher.json", "the teacher's scores on the validation images, where there is a teacher")
    time = Entry("time.json", "what the time of the run was spent on, and the forecast before its first epoch")
    lr_range = Entry("lr_range.csv", "the range test of optimizer.lr=find: the loss at each learning rate")
    log = Entry("train.log", "what the terminal showed")
    trackers = Entry("trackers.json", "the runs that a resumed training continues in its trackers")
    data = Entry("data/", "the photos of the run")
    split = Entry("data/split.csv", "the split of each photo, and the photos left out")
    statistics = Entry("data/statistics.json", "counts, sizes and modes of the photos")
    sampler_distribution = Entry("data/sampler_distribution.csv", "the images sampled in each epoch, by class")
    plots = Entry("plots/", "figures of the training and its photos")
    history_figure = Entry("plots/history.png", "loss, scores, learning rate and speed of every epoch")
    sampler_distribution_figure = Entry("plots/sampler_distribution.png", "the sampled images, by class")
    images_per_class_figure = Entry("plots/images_per_class.png", "the number of photos of each class and split")
    image_sizes_figure = Entry("plots/image_sizes.png", "the sizes of the photos")
    lr_range_figure = Entry("plots/lr_range.png", "the loss by the learning rate, and which one was chosen")
    train_batch = Entry("plots/train_batch.png", "training images as the model received them")
    evaluations = Entry("evaluations/", "what evaluate has written, a folder each time, like test/")
    checkpoints = Entry("checkpoints/", "the weights")
    best_checkpoint = Entry("checkpoints/best.ckpt", "the weights with the best score")
    probe_checkpoint = Entry("checkpoints/probe.ckpt", "the probe, from which the training began")
    epoch_checkpoints = Entry("checkpoints/epoch-*.ckpt", "the weights of one of the best epochs")
    last_checkpoint = Entry("checkpoints/last.ckpt", "where train --resume continues")
    earlier_checkpoints = Entry("checkpoints/last-*.ckpt", "an earlier checkpoint, used if last.ckpt is damaged")
    export = Entry("export/", "the model to deploy, proven to answer like best.ckpt")
    onnx = ExportFolder.onnx.inside(export.path)
    labels_mapping = ExportFolder.labels_mapping.inside(export.path)
    verification = ExportFolder.verification.inside(export.path)
    end_to_end = ExportFolder.end_to_end.inside(export.path)
    end_to_end_verification = ExportFolder.end_to_end_verification.inside(export.path)
    weights = ExportFolder.weights.inside(export.path)
    timm_config = ExportFolder.timm_config.inside(export.path)
    program = ExportFolder.program.inside(export.path)
    openvino = ExportFolder.openvino.inside(export.path)
    openvino_weights = ExportFolder.openvino_weights.inside(export.path)
    card = ExportFolder.card.inside(export.path)
    card_data = ExportFolder.card_data.inside(export.path)
    readme = ExportFolder.readme.inside(export.path)
    fp16 = ExportFolder.fp16.inside(export.path)
    fp16_verification = ExportFolder.fp16_verification.inside(export.path)
    int8 = ExportFolder.int8.inside(export.path)
    int8_verification = ExportFolder.int8_verification.inside(export.path)
    tensorboard = Entry("tensorboard/", "event files for tensorboard --logdir")
    wandb = Entry("wandb/", "files for wandb sync")

    def exported(self, form: str) -> Path:
        """The exported model in the form of that name."""
        return ExportFolder(self.export).model(form)

    def scored(self, split: str) -> ScoredFolder:
        """The scores and predictions of a split."""
        return ScoredFolder(self.root / split)

    def written_files(self) -> list[Path]:
        """Every finished file of the run, in a stable order."""
        files = (path for path in self.root.rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(files)

    def remove_unfinished(self) -> None:
        """Removes what a process left that was killed while it wrote; must not be called while another one writes."""
        for pattern in (".*.tmp", ".*.xml.*.bin"):  # the second file of an OpenVINO model has no name of its own
            for path in self.root.rglob(pattern):
                path.unlink(missing_ok=True)


def check_run_name(parent: Path, name: str | None, *, may_rename: bool = False) -> None:
    """Refuses a name before hours are spent on a run that could not be written; arguments as `create_run`.

    Raises:
        RunError: The name is taken or is not a plain folder name.
    """
    if name is None:
        return
    if not name.strip() or name in {".", ".."} or "/" in name or "\\" in name or "\0" in name:
        raise RunError(f"run.name={name!r} is not a plain folder name; its parent folder is set with run.dir")
    if not may_rename and os.path.lexists(parent / name):  # False also for what the file system refuses
        raise _taken(parent / name)


def create_run(parent: Path, name: str | None, model_name: str, *, may_rename: bool = False) -> RunFolder:
    """Creates a new, empty run folder in the folder that holds all runs.

    Without a name it has one of the date, the time and the model. ``may_rename`` adds ``-2``, ``-3`` … to a name that
    is taken, as is always done where none is given.

    Raises:
        RunError: The name is taken, is not a plain folder name, or the folder cannot be created.
    """
    check_run_name(parent, name, may_rename=may_rename)
    plain_model = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in model_name)
    stem = name or f"{datetime.now():%Y%m%d-%H%M%S}-{plain_model}"
    candidate, number = parent / stem, 1
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # separate from the loop below, which takes "exists" for a run of that name
        reason = error.strerror if isinstance(error, OSError) else error  # a NUL in the name
        raise RunError(f"cannot create the folder {parent}: {reason}; choose another run.dir") from None
    while True:
        try:
            candidate.mkdir()
        except FileExistsError:
            if name is not None and not may_rename:
                raise _taken(candidate) from None
            number += 1
            candidate = parent / f"{stem}-{number}"
        except OSError as error:
            raise RunError(
                f"cannot create the run folder {candidate}: {error.strerror}; choose another run.dir or run.name"
            ) from None
        else:
            return RunFolder(candidate)


def open_run(path: Path) -> RunFolder:
    """The run in an existing folder.

    Raises:
        RunError: There is no such folder, or no run in it.
    """
    run = RunFolder(path)
    if not is_folder(path):
        raise RunError(f"no run folder at {path}{as_it_is(path)}")
    if not run.config.is_file():
        raise RunError(f"{path} is not a run folder: it has no config.yaml")
    return run


def latest_run(parent: Path) -> RunFolder:
    """The run in ``parent`` that was started last.

    Raises:
        RunError: There is no run.
    """
    configs = list(parent.glob("*/config.yaml")) if is_folder(parent) else []
    if not configs:
        raise RunError(f"no run in {parent}; name the run folder")
    return RunFolder(max(configs, key=lambda config: config.stat().st_mtime_ns).parent)


def _taken(folder: Path) -> RunError:
    return RunError(
        f"run folder {folder} exists already and is never overwritten; choose another run.name, or resume it:"
        f" classifier-training train --resume {folder}"
    )
