"""Going on with a run: which run, from where, and which settings may differ from when it began."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from classifier_training.config import load_config
from classifier_training.config.schema import Config
from classifier_training.data.inspect import name_some
from classifier_training.data.photos import Photos
from classifier_training.data.split_file import read_digests
from classifier_training.errors import CheckpointError, RunError
from classifier_training.models.checkpoint import read_checkpoint
from classifier_training.runs import RunFolder, latest_run, open_run

HARMLESS: Final = frozenset(
    {
        "data.num_workers",
        "trainer.max_epochs",
        "trainer.accelerator",
        "trainer.early_stopping_patience",
        "checkpoint.every_n_steps",
        "export.enabled",
        "export.exporter",
        "export.opset_version",
        "export.tolerance",
    }
)
"""Settings that a resumed run may change; every other one would make it another run."""


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a run goes on.

    Attributes:
        run: Its folder.
        config: Its configuration, with the harmless changes.
        checkpoint: The file to go on from; None: the run was stopped before it wrote one.
        epoch: Epochs that are done.
        batch: Batches of the next epoch that are done.
        classes: The classes it was trained on; empty without a checkpoint.
    """

    run: RunFolder
    config: Config
    checkpoint: Path | None
    epoch: int
    batch: int
    classes: tuple[str, ...]


def resume_point(run: str | Path | bool, overrides: Sequence[str], parent: Path) -> ResumePoint:
    """Finds the run and its last checkpoint.

    Args:
        run: The run folder; True: the run in ``parent`` that was started last.
        overrides: Settings to change, ``key=value``.
        parent: The folder that holds all runs.

    Raises:
        RunError: There is no such run, or a setting may not change.
        CheckpointError: Its checkpoint cannot be used.
        ConfigError: A setting is wrong.
    """
    folder = latest_run(parent) if isinstance(run, bool) else _open(Path(run))
    before = load_config(file=folder.config)
    config = load_config(overrides, file=folder.config)
    changed = sorted(_flat(before).items() ^ _flat(config).items(), key=str)
    harmful = sorted({key for key, _ in changed} - HARMLESS)
    if harmful:
        told = ", ".join(f"{key} ({_flat(before)[key]} → {_flat(config)[key]})" for key in harmful)
        raise RunError(
            f"a resumed run cannot change {told}; start a new run for that. It may change {', '.join(sorted(HARMLESS))}"
        )
    checkpoint = folder.last_checkpoint
    if not checkpoint.is_file():
        return ResumePoint(folder, config, None, 0, 0, ())
    content = read_checkpoint(checkpoint)
    position = content.get("ImageFolderDataModule", {"epoch": content["epoch"] + 1, "batch": 0})
    classes = tuple(content["hyper_parameters"]["classes"])
    return ResumePoint(folder, config, checkpoint, position["epoch"], position["batch"], classes)


def check_classes(point: ResumePoint, classes: Sequence[str]) -> None:
    """Makes sure that the photos still have the classes that the run began with.

    Raises:
        CheckpointError: They have not.
    """
    if point.checkpoint is not None and point.classes != tuple(classes):
        raise CheckpointError(
            f"{point.checkpoint} was trained on {len(point.classes)} classes ({', '.join(point.classes[:5])} …), the"
            f" photos now have {len(classes)} ({', '.join(classes[:5])} …); start a new run"
        )


def check_photos(point: ResumePoint, photos: Photos) -> None:
    """Makes sure that the photos are still the ones that the run began with: same bytes, labels and splits.

    Raises:
        RunError: They are not; the epochs and scores before and after could not be compared.
    """
    if not point.run.environment.is_file():  # killed before the first file was written
        return
    before = json.loads(point.run.environment.read_text(encoding="utf-8")).get("data_fingerprint")
    if before != photos.fingerprint:
        old = read_digests(point.run.split) if point.run.split.is_file() else {}
        changed = [f"{path} ({_change(old, photos.digests, path)})" for path in old.keys() | photos.digests.keys()]
        told = name_some(sorted(one for one in changed if not one.endswith("(same)"))) or "labels or splits differ"
        raise RunError(
            f"the photos have changed since {point.run.root} began: {told}; restore them, or start a new run"
        )


def _change(old: Mapping[str, str], new: Mapping[str, str], path: str) -> str:
    if path not in old:
        return "new"
    if path not in new:
        return "gone"
    return "same" if old[path] == new[path] else "other content"


def _open(path: Path) -> RunFolder:
    """The run of a path, which may be one of its checkpoints."""
    try:
        return open_run(path.parent.parent if path.suffix == ".ckpt" and path.is_file() else path)
    except RunError as error:
        raise RunError(
            f"{error}; --resume takes a run folder (it knows its photos), or nothing for the last run"
        ) from None


def _flat(config: Config) -> dict[str, str]:
    flat: dict[str, str] = {}
    for section, values in config.model_dump(mode="json").items():
        if isinstance(values, dict):
            flat |= {f"{section}.{key}": str(value) for key, value in values.items()}
        else:
            flat[section] = str(values)
    return flat
