"""A run that learns from another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tests.helpers.cli import TINY, Trained, WarmProgram

from classifier_training.config import load_config
from classifier_training.pages.write import report
from classifier_training.run.folder import RunFolder

SETTINGS = (*TINY, "data.test_fraction=0.3", "trainer.max_epochs=1", "export.enabled=false", "run.name=new")


def test_a_run_is_taught_and_resumed_by_the_same_teacher_alone(
    program: WarmProgram, trained: Trained, tmp_path: Path
) -> None:
    teacher = RunFolder(shutil.copytree(trained.run.root, tmp_path / "teacher"))
    words = ("distill.teacher=teacher", "distill.temperature=3", "data.mixup=0.2")

    finished = program("train", trained.photos, *SETTINGS, *words, folder=tmp_path)

    assert finished.code == 0, finished
    run = RunFolder(tmp_path / "runs" / "new")
    assert load_config(file=run.config).distill.teacher == str(teacher.root)
    record = json.loads(run.environment.read_text(encoding="utf-8"))["teacher"]
    assert record["backbone"] == "test_byobnet"
    assert len(record["sha256"]) == 64
    scores = json.loads(run.teacher.read_text(encoding="utf-8"))
    assert f"teacher: val/loss {scores['log_loss']:.4f}, val/top1 {scores['top1']:.4f}" in finished.out
    assert "The teacher classifies" in report(run.root).read_text(encoding="utf-8")
    own, theirs = (torch.load(one.last_checkpoint, weights_only=True) for one in (run, trained.run))
    assert own["state_dict"].keys() == theirs["state_dict"].keys()
    assert len(own["optimizer_states"][0]["state"]) == len(theirs["optimizer_states"][0]["state"])

    moved = RunFolder(teacher.root.rename(tmp_path / "elsewhere"))
    more = ("train", "--resume", run.root, "trainer.max_epochs=2", f"distill.teacher={moved.root}")
    shutil.copyfile(trained.run.last_checkpoint, moved.best_checkpoint)
    before = run.config.read_bytes()
    refused = program(*more, folder=tmp_path)
    assert refused.code == 2, refused
    assert "is not the teacher that" in refused.err
    assert refused.err.count("\n") == 1
    assert run.config.read_bytes() == before

    shutil.copyfile(trained.run.best_checkpoint, moved.best_checkpoint)
    assert program(*more, folder=tmp_path).code == 0
    assert load_config(file=run.config).distill.teacher == str(moved.root)


@pytest.mark.parametrize(
    ("teacher", "line"),
    [
        ("nothing", "distill.teacher=nothing is neither a run folder nor a checkpoint nor a timm model"),
        ("empty", "distill.teacher=empty: the folder has no checkpoints/best.ckpt"),
        ("resnet18", "distill.teacher=resnet18 is a teacher with other classes: it has 1000"),
    ],
)
def test_what_cannot_teach_is_refused_before_anything_is_written(
    program: WarmProgram, photos: Path, tmp_path: Path, teacher: str, line: str
) -> None:
    (tmp_path / "empty").mkdir()
    finished = program(
        "train", photos, *SETTINGS, "model.pretrained=false", f"distill.teacher={teacher}", folder=tmp_path
    )
    assert finished.code == 2, finished
    (error,) = finished.err.splitlines()
    assert line in error
    assert not (tmp_path / "runs").exists()
