"""What a resumed run must have in common with its beginning: most settings, the classes and the photos."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from classifier_training.config.flatten import flat_settings
from classifier_training.config.schema import Config, ReportConfig, TrackingConfig
from classifier_training.data.photos import Photos
from classifier_training.data.splits.file import read_digests
from classifier_training.errors import CheckpointError, RunError
from classifier_training.files.text import name_some
from classifier_training.run.folder import RunFolder

RESUMABLE_SETTINGS: Final = frozenset(
    {
        "data.num_workers",
        "data.cache",
        "data.cache_dir",
        "data.cache_limit",
        "trainer.max_epochs",
        "trainer.accelerator",
        "trainer.early_stopping_patience",
        "checkpoint.every_n_steps",
        "checkpoint.every_n_minutes",
        "checkpoint.keep_last",
        "export.enabled",
        "export.exporter",
        "export.opset_version",
        "export.tolerance",
        *(f"report.{name}" for name in ReportConfig.model_fields),
        *(f"tracking.{name}" for name in TrackingConfig.model_fields),
    }
)
"""Settings that a resumed run may change; every other one would make it another run."""


def check_settings(before: Config, now: Config) -> None:
    """Makes sure that only settings have changed that a resumed run may change.

    Raises:
        RunError: Others have.
    """
    old, new = (flat_settings(config.model_dump(mode="json")) for config in (before, now))
    forbidden = sorted(key for key in new if new[key] != old[key] and key not in RESUMABLE_SETTINGS)
    if forbidden:
        changes = ", ".join(f"{key} ({old[key]} → {new[key]})" for key in forbidden)
        raise RunError(
            f"a resumed run cannot change {changes}; start a new run for that. It may change"
            f" {', '.join(sorted(RESUMABLE_SETTINGS))}"
        )


def check_classes(checkpoint: Path, before: Sequence[str], now: Sequence[str]) -> None:
    """Makes sure that the photos still have the classes that a checkpoint was trained on.

    Raises:
        CheckpointError: They have not.
    """
    if tuple(before) != tuple(now):
        raise CheckpointError(
            f"{checkpoint} was trained on {len(before)} classes ({', '.join(before[:5])} …), the photos now have"
            f" {len(now)} ({', '.join(now[:5])} …); start a new run"
        )


def check_photos(run: RunFolder, photos: Photos) -> None:
    """Makes sure that the photos are still the ones that a run began with: same bytes, labels and splits.

    Raises:
        RunError: They are not; the epochs and scores before and after could not be compared.
    """
    if not run.environment.is_file():  # killed before the first file was written
        return
    before = json.loads(run.environment.read_text(encoding="utf-8"))
    same_order = before.get("data_order") in (photos.order, None)
    if before.get("data_fingerprint") == photos.fingerprint and same_order:
        return
    old = read_digests(run.split) if run.split.is_file() else {}
    new = {
        str(record): digest.tobytes().hex()
        for split in photos.rows
        for record, digest in zip(photos.records(split), photos.digests(split), strict=True)
    }
    changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    changes = name_some(f"{path} ({_change(old, new, path)})" for path in changed)
    raise RunError(
        f"the photos have changed since {run.root} began: {changes or 'labels or splits differ'};"
        " restore them, or start a new run"
    )


def _change(old: Mapping[str, str], new: Mapping[str, str], path: str) -> str:
    return "new" if path not in old else "gone" if path not in new else "other content"
