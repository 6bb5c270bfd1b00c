from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from classifier_training.config import load_config, to_yaml
from classifier_training.data.photos import Photos
from classifier_training.data.sources.listing import Split
from classifier_training.data.split_file import write_split
from classifier_training.errors import CheckpointError, ConfigError, RunError
from classifier_training.models.base import BaseClassificationModel
from classifier_training.resume import HARMLESS, check_classes, check_photos, resume_point
from classifier_training.runs import RunFolder, create_run, write_json, write_text
from classifier_training.types import Sample


def make_run(parent: Path, name: str = "one", *, epoch: int | None = 4, **more: Any) -> RunFolder:
    """A run that was stopped; ``epoch=None``: before it wrote a checkpoint."""
    run = create_run(parent, name, "test_resnet")
    config = load_config([f"data.root={parent}", "model.name=test_resnet", "optimizer.lr=0.5"])
    write_text(run.config, to_yaml(config))
    write_json(run.environment, {"data_fingerprint": "abc"})
    if epoch is not None:
        model = BaseClassificationModel("test_resnet", ["cat", "dog"], image_size=32, config=config)
        run.checkpoints.mkdir()
        content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "global_step": 7}
        torch.save({**content, "epoch": epoch, **more}, run.last_checkpoint)
    return run


def test_a_run_goes_on_with_its_own_settings(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    point = resume_point(run.root, [], tmp_path)
    assert (point.run, point.checkpoint) == (run, run.last_checkpoint)
    assert point.config == load_config(file=run.config)
    assert (point.epoch, point.batch, point.classes) == (5, 0, ("cat", "dog"))


def test_a_run_goes_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    run = make_run(tmp_path, ImageFolderDataModule={"epoch": 4, "batch": 3})
    point = resume_point(run.root, [], tmp_path)
    assert (point.epoch, point.batch) == (4, 3)


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_run_may_be_named_by_its_checkpoint(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path)
    run.best_checkpoint.write_bytes(run.last_checkpoint.read_bytes())
    point = resume_point(run.checkpoints / name, [], tmp_path)
    assert (point.run.root, point.checkpoint) == (run.root, run.last_checkpoint)


def test_without_a_name_it_is_the_run_that_was_started_last(tmp_path: Path) -> None:
    for age, name in enumerate(("b", "c", "a")):
        run = make_run(tmp_path, name, epoch=None)
        os.utime(run.config, ns=(10**18, 10**18 + age))
    assert resume_point(True, [], tmp_path).run.root.name == "a"


def test_a_run_without_a_checkpoint_starts_anew(tmp_path: Path) -> None:
    point = resume_point(make_run(tmp_path, epoch=None).root, [], tmp_path)
    assert (point.checkpoint, point.epoch, point.batch, point.classes) == (None, 0, 0, ())


def test_harmless_settings_may_change(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    words = ["trainer.max_epochs=99", "data.num_workers=0", "checkpoint.every_n_steps=5", "export.enabled=false"]
    config = resume_point(run.root, words, tmp_path).config
    assert (config.trainer.max_epochs, config.data.num_workers) == (99, 0)
    assert (config.checkpoint.every_n_steps, config.export.enabled) == (5, False)
    assert config.optimizer.lr == 0.5


@pytest.mark.parametrize(
    "word", ["seed=3", "data.batch_size=7", "model.name=resnet50", "optimizer.lr=0.1", "ema.decay=0.5", "loss.name=bce"]
)
def test_a_setting_that_makes_it_another_run_is_refused(tmp_path: Path, word: str) -> None:
    run = make_run(tmp_path)
    key, _, value = word.partition("=")
    with pytest.raises(RunError, match=rf"cannot change {key} \(.+ → {value}\); start a new run") as caught:
        resume_point(run.root, ["trainer.max_epochs=99", word], tmp_path)
    assert "may change checkpoint.every_n_steps, data.num_workers" in str(caught.value)


def test_what_may_change_are_settings() -> None:
    dumped = load_config([]).model_dump()
    assert {f"{section}.{key}" for section, keys in dumped.items() if section != "seed" for key in keys} >= HARMLESS


def test_a_setting_that_is_as_it_was_may_be_given_again(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert resume_point(run.root, ["optimizer.lr=0.5"], tmp_path).config.optimizer.lr == 0.5


def test_a_wrong_setting_is_a_configuration_error(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(ConfigError, match="max_epoch"):
        resume_point(run.root, ["trainer.max_epoch=3"], tmp_path)


@pytest.mark.parametrize("place", ["none", "."])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(RunError, match="no run folder"):
        resume_point(tmp_path / place, [], tmp_path)


def test_a_parent_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run in"):
        resume_point(True, [], tmp_path)


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_a_broken_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    run = make_run(tmp_path)
    run.last_checkpoint.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.ckpt is truncated or no checkpoint"):
        resume_point(run.root, [], tmp_path)


def test_the_classes_must_be_the_same(tmp_path: Path) -> None:
    point = resume_point(make_run(tmp_path).root, [], tmp_path)
    check_classes(point, ["cat", "dog"])
    for others in (["cat", "dog", "owl"], ["dog", "cat"], ["cat"]):
        with pytest.raises(CheckpointError, match=rf"2 classes \(cat, dog.*now have {len(others)} \(.*new run"):
            check_classes(point, others)
    check_classes(dataclasses.replace(point, checkpoint=None), ["owl"])


def photos_of(splits: dict[Split, tuple[Sample, ...]], digests: dict[str, str], fingerprint: str) -> Photos:
    return Photos(Path("/photos"), "", ("cat", "dog"), splits, (), (), (), digests, fingerprint)


def test_the_photos_must_be_the_same(tmp_path: Path) -> None:
    point = resume_point(make_run(tmp_path).root, [], tmp_path)
    train = tuple(Sample(f"/photos/{name}.png", "cat") for name in "abc")
    before = {sample.path: sample.path for sample in train}
    write_split(point.run.split, photos_of({"train": train}, before, "abc"))
    check_photos(point, photos_of({"train": train}, before, "abc"))

    after = {"/photos/a.png": "/photos/a.png", "/photos/b.png": "other", "/photos/d.png": "d"}
    with pytest.raises(
        RunError, match=r"have changed .*b.png \(other content\), .*c.png \(gone\), .*d.png \(new\); restore"
    ):
        check_photos(point, photos_of({"train": train}, after, "xyz"))
    with pytest.raises(RunError, match="labels or splits differ; restore"):
        check_photos(point, photos_of({"val": train}, before, "xyz"))
    point.run.environment.unlink()
    check_photos(point, photos_of({}, {}, "xyz"))
