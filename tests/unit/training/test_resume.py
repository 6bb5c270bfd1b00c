from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from classifier_training.config import Config, load_config, to_yaml
from classifier_training.config.options import option_table
from classifier_training.data.index.check import Facts
from classifier_training.data.index.table import Index, write_index
from classifier_training.data.photos import Photos
from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.splits.file import write_split
from classifier_training.errors import CheckpointError, ConfigError, RunError
from classifier_training.files.atomic import write_json, write_text
from classifier_training.models.base import BaseClassificationModel
from classifier_training.run.folder import RunFolder, create_run
from classifier_training.training.resume import (
    RESUMABLE_SETTINGS,
    check_classes,
    check_settings,
    read_resumed,
    requeued_run,
)
from classifier_training.training.same_photos import check_photos
from classifier_training.types import Split


def make_run(parent: Path, name: str = "one", *, epoch: int | None = 4, **more: Any) -> RunFolder:
    """A run that was stopped; ``epoch=None``: before it wrote a checkpoint."""
    run = create_run(parent, name, "test_resnet")
    config = load_config([f"data.root={parent}", "model.name=test_resnet", "optimizer.lr=0.5"])
    write_text(run.config, to_yaml(config))
    write_json(run.environment, {"data_fingerprint": "abc", "data_order": "o"})
    if epoch is not None:
        model = BaseClassificationModel("test_resnet", ["cat", "dog"], image_size=32)
        run.checkpoints.mkdir()
        content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "global_step": 7}
        torch.save({**content, "epoch": epoch, **more}, run.last_checkpoint)
    return run


def test_a_run_resumes_with_its_own_settings(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    point = read_resumed(run.root, [], tmp_path)
    assert (point.run, point.checkpoint) == (run, run.last_checkpoint)
    assert point.config == load_config(file=run.config)
    assert (point.epoch, point.batch, point.classes) == (5, 0, ("cat", "dog"))


def test_a_run_resumes_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    run = make_run(tmp_path, ImageFolderDataModule={"epoch": 4, "batch": 3})
    point = read_resumed(run.root, [], tmp_path)
    assert (point.epoch, point.batch, point.augmentation) == (4, 3, 1)


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_a_run_may_be_named_by_its_checkpoint(tmp_path: Path, name: str) -> None:
    run = make_run(tmp_path)
    run.best_checkpoint.write_bytes(run.last_checkpoint.read_bytes())
    point = read_resumed(run.checkpoints / name, [], tmp_path)
    assert (point.run.root, point.checkpoint) == (run.root, run.last_checkpoint)


def test_without_a_name_it_is_the_run_that_was_started_last(tmp_path: Path) -> None:
    for age, name in enumerate(("b", "c", "a")):
        run = make_run(tmp_path, name, epoch=None)
        os.utime(run.config, ns=(10**18, 10**18 + age))
    assert read_resumed(True, [], tmp_path).run.root.name == "a"


def test_a_run_without_a_checkpoint_starts_from_the_beginning(tmp_path: Path) -> None:
    point = read_resumed(make_run(tmp_path, epoch=None).root, [], tmp_path)
    assert (point.checkpoint, point.epoch, point.batch, point.classes) == (None, 0, 0, ())


def test_some_settings_may_change(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    overrides = ["trainer.max_epochs=99", "data.num_workers=0", "checkpoint.every_n_steps=5", "export.enabled=false"]
    config = read_resumed(run.root, overrides, tmp_path).config
    assert (config.trainer.max_epochs, config.data.num_workers) == (99, 0)
    assert (config.checkpoint.every_n_steps, config.export.enabled) == (5, False)
    assert config.optimizer.lr == 0.5


@pytest.mark.parametrize(
    "override",
    ["seed=3", "data.batch_size=7", "model.name=resnet50", "optimizer.lr=0.1", "ema.decay=0.5", "loss.name=bce"],
)
def test_a_setting_that_makes_it_another_run_is_refused(tmp_path: Path, override: str) -> None:
    run = make_run(tmp_path)
    key, _, value = override.partition("=")
    with pytest.raises(RunError, match=rf"cannot change {key} \(.+ → {value}\); start a new run") as caught:
        read_resumed(run.root, ["trainer.max_epochs=99", override], tmp_path)
    assert (
        "may change checkpoint.every_n_minutes, checkpoint.every_n_steps, checkpoint.keep_best, checkpoint.keep_last"
        in str(caught.value)
    )


def test_a_setting_that_is_as_it_was_may_be_given_again(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert read_resumed(run.root, ["optimizer.lr=0.5"], tmp_path).config.optimizer.lr == 0.5


def test_a_wrong_setting_is_a_configuration_error(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(ConfigError, match="max_epoch"):
        read_resumed(run.root, ["trainer.max_epoch=3"], tmp_path)


@pytest.mark.parametrize("folder", ["none", "."])
def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path, folder: str) -> None:
    with pytest.raises(RunError, match=r"(no|not a) run folder"):
        read_resumed(tmp_path / folder, [], tmp_path)


def test_a_parent_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run in"):
        read_resumed(True, [], tmp_path)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_a_wrong_byte(content: bytes) -> bytes:
    middle = len(content) // 2  # of a weight, which is not looked at to read the rest
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def with_a_wrong_end(content: bytes) -> bytes:
    return content[:-100] + os.urandom(100)


def empty(content: bytes) -> bytes:
    return b""


def garbage(content: bytes) -> bytes:
    return os.urandom(len(content))


def foreign(content: bytes) -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": {}}, file)
    return file.getvalue()


def unsafe(content: bytes) -> bytes:
    file = io.BytesIO()
    torch.save({"epoch": Path("/")}, file)
    return file.getvalue()


DAMAGES = [truncated, with_a_wrong_byte, with_a_wrong_end, empty, garbage, foreign, unsafe]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_cannot_be_used_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    run = make_run(tmp_path)
    run.last_checkpoint.write_bytes(damage(run.last_checkpoint.read_bytes()))
    before = run.last_checkpoint.read_bytes()
    with pytest.raises(CheckpointError, match=r"^no checkpoint of .* can be used; .* new run: .*last\.ckpt is [^\n]+$"):
        read_resumed(run.root, [], tmp_path)
    assert run.last_checkpoint.read_bytes() == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_one_before_is_taken_instead(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    run = make_run(tmp_path)
    earlier = run.checkpoints / "last-1.ckpt"
    earlier.write_bytes(run.last_checkpoint.read_bytes())
    run.last_checkpoint.write_bytes(damage(run.last_checkpoint.read_bytes()))
    point = read_resumed(run.root, [], tmp_path)
    assert (point.checkpoint, point.epoch) == (earlier, 5)
    (message,) = point.unusable
    assert str(run.last_checkpoint) in message


def test_of_several_the_latest_whole_one_is_taken(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.last_checkpoint.rename(run.best_checkpoint)
    (run.checkpoints / "last-1.ckpt").write_bytes(b"")
    (run.checkpoints / "last-2.ckpt").write_bytes(truncated(run.best_checkpoint.read_bytes()))
    point = read_resumed(run.root, [], tmp_path)
    assert point.checkpoint == run.best_checkpoint
    assert [message.split(" ")[0].rpartition("/")[2] for message in point.unusable] == ["last-1.ckpt", "last-2.ckpt"]


BEST = {"RunCheckpoint": {"best_epoch": 3, "best_model_score": 0.5, "best_loss": None}}


@pytest.mark.parametrize(
    ("epoch", "more", "overrides", "expected"),
    [
        (18, {"callbacks": BEST}, [], False),
        (19, {"callbacks": BEST}, [], True),
        (19, {"callbacks": BEST}, ["trainer.max_epochs=21"], False),
        (9, {"callbacks": BEST}, ["trainer.max_epochs=10"], True),
        (19, {"callbacks": BEST, "validation_left": True}, [], False),
        (19, {}, [], False),
        (9, {"callbacks": BEST | {"EarlyStopping{}": {"wait_count": 2}}}, [], False),
        (9, {"callbacks": BEST | {"EarlyStopping{}": {"wait_count": 2}}}, ["trainer.early_stopping_patience=2"], True),
        (9, {"callbacks": BEST | {"EarlyStopping{}": {"wait_count": 2}}}, ["trainer.early_stopping_patience=3"], False),
    ],
)
def test_whether_everything_is_trained(
    tmp_path: Path, epoch: int, more: dict[str, Any], overrides: list[str], expected: bool
) -> None:
    run = make_run(tmp_path, epoch=epoch, **more)
    assert read_resumed(run.root, overrides, tmp_path).is_trained is expected


def test_a_monitored_metric_that_is_not_a_number_has_ended_the_training(tmp_path: Path) -> None:
    stopping = EarlyStopping("val/loss", patience=5)
    stopping.stopping_reason = EarlyStoppingReason.NON_FINITE_METRIC
    run = make_run(tmp_path, callbacks=BEST | {stopping.state_key: stopping.state_dict()})
    assert read_resumed(run.root, ["trainer.early_stopping_patience=5"], tmp_path).is_trained


def test_a_job_that_was_requeued_finds_the_run_that_it_made(tmp_path: Path) -> None:
    assert requeued_run(tmp_path / "none", "42") is None
    for age, (name, job) in enumerate((("first", "42"), ("second", "42"), ("other", "43"), ("no job", None))):
        run = make_run(tmp_path, name, epoch=None)
        os.utime(run.config, ns=(10**18, 10**18 + age))
        if job is not None:
            write_json(run.environment, {"data_fingerprint": "abc", "slurm_job": job})
    found = requeued_run(tmp_path, "42")
    assert found is not None
    assert found.root.name == "second"
    assert requeued_run(tmp_path, "44") is None


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
