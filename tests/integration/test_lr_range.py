"""A learning rate that is found before the training."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.cli import TINY, WarmProgram
from tests.helpers.training import assert_same_run

from classifier_training import train
from classifier_training.config import load_config
from classifier_training.run.folder import RunFolder
from classifier_training.training import lr_range

SETTINGS = (*TINY, "model.pretrained=false", "trainer.max_epochs=1", "export.enabled=false", "report.enabled=true")


def test_a_run_is_the_one_that_was_given_the_rate_which_was_found(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    finished = program("train", photos, *SETTINGS, "optimizer.lr=find", "run.name=found", folder=tmp_path)

    assert finished.code == 0, finished
    assert "Traceback" not in finished.err
    found, given = (RunFolder(tmp_path / "runs" / name) for name in ("found", "given"))
    lr = load_config(file=found.config).optimizer.peak_lr
    assert f"optimizer.lr={lr:g}: a tenth of" in finished.out
    assert found.lr_range_figure.stat().st_size > 1000
    assert f"chosen: {lr:g}" in found.report.read_text(encoding="utf-8")
    header, *rows = found.lr_range.read_text(encoding="utf-8").splitlines()
    assert header == "lr,loss,smoothed"
    assert 10 < len(rows) <= 100

    assert program("train", photos, *SETTINGS, f"optimizer.lr={lr!r}", "run.name=given", folder=tmp_path).code == 0
    assert_same_run(found.checkpoints, given.checkpoints, names=("best.ckpt", "last.ckpt"))
    assert found.metrics.read_bytes() == given.metrics.read_bytes()


def test_what_a_range_test_cannot_find_is_refused(program: WarmProgram, photos: Path, tmp_path: Path) -> None:
    words = ("optimizer.lr=find", "optimizer.lr_base_batch_size=256", "optimizer.sam_rho=0.05")
    finished = program("train", photos, *SETTINGS, *words, folder=tmp_path)

    assert finished.code == 2, finished
    assert "find measures the rate for the batches of this run" in finished.err
    assert "a range test makes plain steps" in finished.err
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_stopped_in_the_range_test_can_be_resumed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press_ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    words = (*SETTINGS, "optimizer.lr=find", f"run.dir={tmp_path}", "run.name=stopped", "report.enabled=false")
    with monkeypatch.context() as stopped:
        stopped.setattr(lr_range, "range_test", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            train(photos, *words)
    run = RunFolder(tmp_path / "stopped")
    told = " ".join(capsys.readouterr().out.split())
    assert "stopped before the first step; the run is not finished; resume it with: classifier-training" in told

    assert train(resume=run.root, quiet=True) is not None
    assert load_config(file=run.config).optimizer.peak_lr > 0
