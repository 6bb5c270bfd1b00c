"""The teacher of a distillation: found and checked with the plan, recorded, and the same in a resumed run."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import timm.data

from classifier_training.config.contradictions import NO_STEPS_TO_TEACH
from classifier_training.config.schema import Config
from classifier_training.data.photos import Photos
from classifier_training.data.splits.file import read_digests
from classifier_training.errors import ConfigError, DataError, ModelError, RunError
from classifier_training.files.text import did_you_mean, name_some
from classifier_training.models.backbone import backbone_preprocessing
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.checkpoint import load_model, read_checkpoint
from classifier_training.models.distillation import Distillation, check_teacher_classes
from classifier_training.models.starting_weights import StartingWeights, find_weights
from classifier_training.models.weights import load_starting_weights
from classifier_training.run.environment import TeacherRecord, read_environment
from classifier_training.run.folder import RunFolder
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.weights import fetch
from classifier_training.types import Split

if TYPE_CHECKING:
    from classifier_training.training.plan import Plan

HELD_OUT: Final[tuple[Split, ...]] = ("val", "test")


@dataclass(frozen=True, slots=True)
class Teacher:
    """The model that another one learns from.

    Attributes:
        setting: ``distill.teacher``, with a path that is absolute.
        backbone: Its timm name.
        image_size: Side of the images that it takes, pixels.
        checkpoint: Its file; None: timm's weights.
        sha256: Hash of that file.
        weights: Where timm's weights are; None: it is a checkpoint.
        classes: Its classes.
    """

    setting: str
    backbone: str
    image_size: int
    checkpoint: Path | None
    sha256: str | None
    weights: StartingWeights | None
    classes: tuple[str, ...]

    def record(self) -> TeacherRecord:
        """What ``environment.json`` keeps."""
        return TeacherRecord(teacher=self.setting, backbone=self.backbone, sha256=self.sha256)

    def describe(self, config: Config) -> str:
        """A row of the plan."""
        share = f"weight {config.distill.weight:g}, temperature {config.distill.temperature:g}"
        return f"{self.backbone} at {self.image_size} px, {self.setting}, {share}"


def find_teacher(config: Config, photos: Photos) -> Teacher | None:
    """The teacher of a configuration; None where none is set.

    Raises:
        ConfigError: There is no such run, checkpoint or model, or the recipe has no steps in which one could teach.
        ModelError: It has other classes, or no weights.
        CheckpointError: Its checkpoint cannot be used.
    """
    name = config.distill.teacher
    if name is None:
        return None
    if config.recipe.name == "probe":
        raise ConfigError(f"distill.teacher={name}, recipe.name=probe: {NO_STEPS_TO_TEACH}")
    path = Path(name).expanduser()
    run = RunFolder(path)
    checkpoint = run.best_checkpoint if path.is_dir() else path
    if checkpoint.is_file():
        content = read_checkpoint(checkpoint)["hyper_parameters"]
        classes = tuple(content["classes"])
        check_teacher_classes(name, classes, photos.classes)
        sha256 = _hash(checkpoint)
        return Teacher(
            str(path.resolve()), content["backbone"], content["image_size"], checkpoint.resolve(), sha256, None, classes
        )
    if path.is_dir():
        raise ConfigError(f"distill.teacher={name}: the folder has no {run.best_checkpoint.relative_to(run.root)}")
    return _timm_teacher(name, photos)


def _timm_teacher(name: str, photos: Photos) -> Teacher:
    if not timm.is_model(name):
        raise ConfigError(
            f"distill.teacher={name} is neither a run folder nor a checkpoint nor a timm model; give the folder of a"
            f" finished run, such as runs/NAME{did_you_mean(name)}"
        )
    settings, library = timm.models.get_pretrained_cfg(name), cast("Any", timm.data)
    labels = tuple(getattr(settings, "label_names", None) or ())
    subset = library.infer_imagenet_subset({"num_classes": getattr(settings, "num_classes", None)})
    if not labels and subset is not None:
        labels = tuple(library.ImageNetInfo(subset).label_names())
    if not labels:
        raise ModelError(
            f"distill.teacher={name}: it is not known which classes timm's weights of this model know, so they may be"
            f" others than those of the photos ({name_some(photos.classes)}); give a run that was trained on these"
        )
    check_teacher_classes(name, labels, photos.classes)
    weights = find_weights(name, pretrained=True, wanted_by=f"distill.teacher={name}")
    return Teacher(name, name, backbone_preprocessing(name).image_size, None, None, weights, labels)


def fetch_teacher(teacher: Teacher | None, terminal: Terminal) -> Teacher | None:
    """Has the weights of a teacher on this disk; prints first what is downloaded.

    Raises:
        ModelError: The download failed.
    """
    if teacher is None or teacher.weights is None:
        return teacher
    weights = fetch(teacher.weights, terminal)
    return replace(teacher, weights=weights, sha256=None if weights is None else weights.sha256)


def build_distillation(plan: Plan) -> Distillation | None:
    """The teacher with its weights, ready to teach the model of a plan; None without one, or without its weights.

    Raises:
        ModelError: Its weights do not fit.
        CheckpointError: Its checkpoint does not hold the model that it describes.
    """
    teacher, settings = plan.teacher, plan.config.distill
    if teacher is None:
        return None
    if teacher.checkpoint is not None:
        model = load_model(teacher.checkpoint)
    else:
        model = BaseClassificationModel(teacher.backbone, teacher.classes)
        if teacher.weights is None or teacher.weights.at_hub is not None:  # a dry run downloads nothing
            return None
        load_starting_weights(model.backbone, teacher.backbone, teacher.weights)
    return Distillation(
        model, plan.photos.classes, plan.preprocessing, settings.weight, settings.temperature, teacher.setting
    )


def check_same_teacher(run: RunFolder, teacher: Teacher | None) -> None:
    """Makes sure that a resumed run is taught by the same model, wherever its file is now.

    Raises:
        RunError: Its file is another one.
    """
    record = read_environment(run.environment).get("teacher")
    before = record.get("sha256") if isinstance(record, dict) else None
    if teacher is None or before is None or teacher.sha256 is None or teacher.sha256 == before:
        return
    raise RunError(
        f"distill.teacher={teacher.setting} is not the teacher that {run.root} began with: the SHA-256 of"
        f" {teacher.checkpoint} was {str(before)[:12]}… and is {teacher.sha256[:12]}…; restore the file, give its place"
        " with distill.teacher=, or start a new run"
    )


def pin_teacher(config: Config, teacher: Teacher | None) -> Config:
    """A configuration with the place of its teacher, wherever the program is started."""
    if teacher is None:
        return config
    return config.model_copy(update={"distill": config.distill.model_copy(update={"teacher": teacher.setting})})


def warn_of_teacher(plan: Plan, terminal: Terminal) -> None:
    """Warns where the teacher was trained on photos that this run validates or tests on, by the record of its run."""
    teacher, photos = plan.teacher, plan.photos
    if teacher is None or teacher.checkpoint is None:
        return
    with contextlib.suppress(DataError):  # a checkpoint outside of its run
        trained_on = set(read_digests(RunFolder(teacher.checkpoint.parent.parent).split, "train").values())
        splits: list[Split] = [split for split in HELD_OUT if len(photos.rows.get(split, ()))]
        seen = [digest for split in splits for digest in photos.digests(split) if digest.tobytes().hex() in trained_on]
        if seen:
            terminal.warn(
                f"distill.teacher={teacher.setting} was trained on {len(seen)} of the photos that are validated or"
                " tested on here, and passes on what it knows of them: the scores are too optimistic; split both runs"
                " alike"
            )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
