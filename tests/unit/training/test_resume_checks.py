from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier_training.config import Config, load_config
from classifier_training.config.options import option_table
from classifier_training.data.index.check import Facts
from classifier_training.data.index.table import Index, write_index
from classifier_training.data.photos import Photos
from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.splits.file import write_split
from classifier_training.errors import CheckpointError, RunError
from classifier_training.files.atomic import write_json
from classifier_training.run.folder import create_run
from classifier_training.training.resume_checks import RESUMABLE_SETTINGS, check_classes, check_photos, check_settings
from classifier_training.types import Split


def test_what_may_change_are_settings() -> None:
    assert set(option_table()) >= RESUMABLE_SETTINGS


def test_a_class_weight_that_changes_is_refused_as_one_setting() -> None:
    manual = ["data.balance=sampler", "data.balance_weighting=manual"]
    before, now = (load_config([*manual, f"data.class_weights={{a: {weight}}}"]) for weight in (1, 2))
    check_settings(before, before)
    with pytest.raises(RunError, match=r"cannot change data\.class_weights \(\{'a': 1\.0\} → \{'a': 2\.0\}\); start a"):
        check_settings(before, now)


def test_every_setting_that_differs_is_named() -> None:
    now = load_config(["seed=3", "ema.decay=0.5", "trainer.max_epochs=99"])
    with pytest.raises(RunError, match=r"^a resumed run cannot change ema\.decay \(0\.9999 → 0\.5\), seed \(0 → 3\); "):
        check_settings(Config(), now)


def test_the_classes_must_be_the_same() -> None:
    check_classes(Path("last.ckpt"), ("cat", "dog"), ["cat", "dog"])
    for others in (["cat", "dog", "owl"], ["dog", "cat"], ["cat"]):
        with pytest.raises(CheckpointError, match=rf"2 classes \(cat, dog.*now have {len(others)} \(.*new run"):
            check_classes(Path("last.ckpt"), ("cat", "dog"), others)


def photos_of(tmp_path: Path, split: Split, contents: dict[str, str], fingerprint: str, order: str = "o") -> Photos:
    """Photos that need not exist, by file name and content."""
    writer = RowWriter()
    writer.add("/photos", list(contents), "cat")
    facts = Facts.empty(len(contents))
    for row, content in enumerate(contents.values()):
        facts.digests[row, 0] = ord(content)
    path = tmp_path / f"{fingerprint}{len(list(tmp_path.iterdir()))}.arrow"
    write_index(path, Listing("", writer.table()), facts)
    rows = {split: np.arange(len(contents))}
    return Photos("/photos", ("cat", "dog"), Index(path), rows, (), (), (), fingerprint, order)


def test_the_photos_must_be_the_same(tmp_path: Path) -> None:
    run = create_run(tmp_path, "one", "test_resnet")
    write_json(run.environment, {"data_fingerprint": "abc", "data_order": "o"})
    before = {"a.png": "a", "b.png": "b", "c.png": "c"}
    write_split(run.split, photos_of(tmp_path, "train", before, "abc"))
    check_photos(run, photos_of(tmp_path, "train", before, "abc"))

    after = {"a.png": "a", "b.png": "o", "d.png": "d"}
    with pytest.raises(
        RunError, match=r"have changed .*b.png \(other content\), .*c.png \(gone\), .*d.png \(new\); restore"
    ):
        check_photos(run, photos_of(tmp_path, "train", after, "xyz"))
    with pytest.raises(RunError, match="labels or splits differ; restore"):
        check_photos(run, photos_of(tmp_path, "val", before, "xyz"))
    renamed = photos_of(tmp_path, "train", {"a.png": "a", "c.png": "c", "z.png": "b"}, "abc", "another order")
    with pytest.raises(RunError, match=r"have changed .*b.png \(gone\), .*z.png \(new\); restore"):
        check_photos(run, renamed)
    run.environment.unlink()
    check_photos(run, photos_of(tmp_path, "train", before, "xyz"))
