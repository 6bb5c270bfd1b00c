"""Runs that are killed, interrupted and gone on with end where an uninterrupted one ends, bit for bit."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.cli import (
    TINY,
    Finished,
    StartedProcess,
    Trained,
    WarmProgram,
    make_shapes,
    read_until,
    wait_until,
)

from classifier_training.pages.caveats import caveats
from classifier_training.pages.read.run_data import read_run
from classifier_training.run.folder import RunFolder

# everything that a resume could get wrong: draws, dropout, gradients in the making, a schedule, a frozen backbone,
# images that are mixed, erased, repeated and resized by their position
SETTINGS = (
    *TINY,
    "data.batch_size=2",
    "data.balance=sampler",
    "data.mixup=0.4",
    "data.cutmix=1.0",
    "data.random_erasing=0.5",
    "data.repeated_augmentation=2",
    "data.progressive_size=0.5",
    "model.drop_rate=0.3",
    "model.freeze_epochs=1",
    "trainer.max_epochs=3",
    "trainer.accumulate_grad_batches=2",
    "checkpoint.monitor=val/loss",
    "export.enabled=false",
)
STEPS_PER_EPOCH = 8
RESUMED_BY_PYTHON = """
import json, sys
from classifier_training import train
result = train(resume=sys.argv[1])
test = result.test.to_dict([one["class"] for one in json.load(open(f"{sys.argv[1]}/results.json"))["test"]["classes"]])
print(json.dumps([result.best_epoch, result.best_score, result.split, test, str(result.onnx)]))
"""


@pytest.fixture(scope="module")
def uninterrupted(program: WarmProgram, photos: Path) -> RunFolder:
    finished = program("train", "shapes", *SETTINGS, "run.name=whole")
    assert finished.code == 0, finished
    run = RunFolder(program.folder / "runs" / "whole")
    assert checkpoint(run.last_checkpoint)["global_step"] == 3 * STEPS_PER_EPOCH
    return run


def checkpoint(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def steps(run: RunFolder) -> int:
    """Optimizer steps in the last checkpoint; 0 where there is none."""
    return int(checkpoint(run.last_checkpoint)["global_step"]) if run.last_checkpoint.exists() else 0


def equal(first: Any, second: Any) -> bool:
    """Whether two nested states hold the same bits."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(value, second[key]) for key, value in first.items())
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return bool(first == second)


def metrics(run: RunFolder) -> list[dict[str, str]]:
    with run.metrics.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_same(run: RunFolder, whole: RunFolder) -> None:
    for path, wanted in ((run.best_checkpoint, whole.best_checkpoint), (run.last_checkpoint, whole.last_checkpoint)):
        found, expected = checkpoint(path), checkpoint(wanted)
        assert found.keys() == expected.keys()
        for part in found.keys() - {"hyper_parameters"}:  # the settings tell the runs apart
            assert equal(found[part], expected[part]), f"{part} of {path.name}"
    assert run.metrics.read_bytes() == whole.metrics.read_bytes()
    for name in ("best", "test", "epochs"):
        assert json.loads(run.results.read_text())[name] == json.loads(whole.results.read_text())[name]


def start(program: WarmProgram, name: str, *settings: str) -> AbstractContextManager[StartedProcess]:
    return program.started("train", program.folder / "shapes", *SETTINGS, *settings, f"run.name={name}")


def interrupt(process: StartedProcess) -> Finished:
    """Ctrl-C: a terminal sends it to the whole process group."""
    os.killpg(process.pid, signal.SIGINT)
    return process.end()


def test_a_run_whose_photos_have_moved_is_resumed_where_they_are_now(
    program: WarmProgram, uninterrupted: RunFolder, photos: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(photos, tmp_path / "before" / "photos")
    run = RunFolder(program.folder / "runs" / "moved")
    words = ("train", root, *SETTINGS, "checkpoint.every_n_steps=1", "run.name=moved")
    with program.started(*words) as process:
        wait_until(process, lambda: steps(run) >= 3)
        process.kill()
    now = tmp_path / "after"
    root.rename(now)
    other = shutil.copytree(now, tmp_path / "other")
    shutil.copyfile(other / "red" / "00.png", other / "red" / "01.png")
    kept = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}

    refused = program("train", "--resume", run.root, f"data.root={other}")

    assert refused.code == 2
    (line,) = refused.err.splitlines()
    assert f"photos in {other} are not those that {run.root} began with in {root}: red/01.png (other content)" in line
    assert {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()} == kept
    finished = program("train", "--resume", run.root, f"data.root={now}")
    assert finished.code == 0, finished
    assert_same(run, uninterrupted)
    assert json.loads(run.environment.read_text(encoding="utf-8"))["data_root"] == str(now)
    assert program("evaluate", run.root).code == 0


@pytest.mark.parametrize("stop_at", [3, STEPS_PER_EPOCH + 3])
def test_a_killed_run_is_finished_as_if_nothing_had_happened(
    program: WarmProgram, uninterrupted: RunFolder, stop_at: int
) -> None:
    run = RunFolder(program.folder / "runs" / f"killed-{stop_at}")
    with start(program, run.root.name, "checkpoint.every_n_steps=1") as process:
        wait_until(process, lambda: steps(run) >= stop_at)
        process.kill()
    assert not run.results.exists()

    # by its name: what runs last in this folder is up to the other tests
    finished = program("train", "--resume", run.root)

    assert finished.code == 0, finished
    assert_same(run, uninterrupted)


def test_a_run_that_was_interrupted_goes_on(program: WarmProgram, uninterrupted: RunFolder, photos: Path) -> None:
    run = RunFolder(program.folder / "runs" / "interrupted")
    # loader processes get the interrupt too; and the photos do not depend on their number
    with start(program, "interrupted", "checkpoint.every_n_steps=1", "data.num_workers=1") as process:
        wait_until(process, lambda: steps(run) > STEPS_PER_EPOCH)
        stopped = interrupt(process)

    assert stopped.code == 130
    assert "Traceback" not in stopped.out
    assert f"resume it with: classifier-training train --resume {run.root.relative_to(program.folder)}" in stopped.out
    assert steps(run) < 3 * STEPS_PER_EPOCH
    assert not list(run.root.rglob(".*"))

    finished = program("train", "--resume", "runs/interrupted", "data.num_workers=0")
    assert finished.code == 0, finished
    assert_same(run, uninterrupted)


def test_the_interrupt_itself_writes_the_last_checkpoint(program: WarmProgram, uninterrupted: RunFolder) -> None:
    run = RunFolder(program.folder / "runs" / "early")
    with start(program, "early", "trainer.max_epochs=100000") as process:
        read_until(process, "epoch 1/")
        stopped = interrupt(process)

    assert stopped.code == 130
    assert "Traceback" not in stopped.out
    assert steps(run) >= STEPS_PER_EPOCH
    said = program("train", "--resume", "runs/early", "trainer.max_epochs=1")
    assert said.code == 0, said


@pytest.fixture(scope="module")
def stopped(program: WarmProgram, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was killed; tests copy it."""
    folder = tmp_path_factory.mktemp("stopped")
    words = ("train", photos, *SETTINGS, "checkpoint.every_n_steps=3", "run.name=x")
    killed = program.signalled(signal.SIGKILL, "/last.ckpt", *words, nth=9, folder=folder)
    assert killed.code == -signal.SIGKILL
    return RunFolder(folder / "runs" / "x")


class TestGoingOn:
    def test_without_a_name_it_is_the_last_run(self, program: WarmProgram, trained: Trained, tmp_path: Path) -> None:
        for name in ("older", "newer"):
            shutil.copytree(trained.run.root, tmp_path / "runs" / name, copy_function=shutil.copyfile)
        newer = RunFolder(tmp_path / "runs" / "newer")

        finished = program("train", "--resume", "trainer.max_epochs=3", "report.enabled=false", folder=tmp_path)

        assert finished.code == 0, finished
        assert "resuming at epoch 3" in finished.out
        told = (
            "the learning rate schedule now ends at epoch 3 instead of 2: it had reached its end, so the learning rate"
        )
        assert f"{told} stays at 3e-06, 1% of its peak" in finished.out
        assert [float(row["lr"]) for row in metrics(newer)][2] == pytest.approx(3e-6)
        assert [row["epoch"] for row in metrics(newer)] == ["0", "1", "2"]
        assert len(metrics(RunFolder(tmp_path / "runs" / "older"))) == 2
        assert finished.out.splitlines()[0] in newer.log.read_text(encoding="utf-8")

    def test_a_finished_run_is_just_finished(self, program: WarmProgram, trained: Trained, tmp_path: Path) -> None:
        shutil.copytree(trained.run.root, tmp_path / "run")
        run = RunFolder(tmp_path / "run")
        run.results.unlink()
        shutil.rmtree(run.export)
        (run.checkpoints / ".last.ckpt.abc.tmp").write_bytes(b"killed while it was written")

        finished = program("train", "--resume", run.root, "report.enabled=false")

        assert finished.code == 0, finished
        assert "all 2 epochs are already trained" in finished.out
        assert not list(run.root.rglob(".*"))
        assert run.onnx.read_bytes() == trained.run.onnx.read_bytes()
        wanted = json.loads(trained.run.results.read_text())
        assert {**json.loads(run.results.read_text()), "seconds": 0} == {**wanted, "seconds": 0}
        assert equal(checkpoint(run.last_checkpoint), checkpoint(trained.run.last_checkpoint))

    def test_of_a_finished_run_nothing_is_left_to_do(
        self, program: WarmProgram, trained: Trained, tmp_path: Path
    ) -> None:
        run = RunFolder(shutil.copytree(trained.run.root, tmp_path / "run"))
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.root.rglob("*") if path.is_file()}

        finished = program("train", "--resume", run.root)
        result = program.python(RESUMED_BY_PYTHON, run.root)

        assert finished.code == 0, finished
        (line,) = finished.out.splitlines()
        top1 = json.loads(run.results.read_text())["test"]["top1"]
        assert line == f"{run.root} is finished, there is nothing left to do: test top-1 {top1:.2%}"
        after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.root.rglob("*") if path.is_file()}
        assert after == before
        results = json.loads(run.results.read_text())
        intervals = results["test"].pop("intervals")
        del results["test"]["precision"]  # of the arithmetic; a result in Python is always that of the run
        assert intervals["top1"][0] <= results["test"]["top1"] <= intervals["top1"][1]
        for row in results["test"]["classes"]:
            assert row.pop("recall_interval")[0] <= row["recall"]
            row.pop("precision_interval")  # None for a class that was never predicted
        expected = [results["best"]["epoch"], results["best"]["val/top1"], "test", results["test"], str(run.onnx)]
        assert json.loads(result.out.splitlines()[-1]) == expected

    @pytest.mark.parametrize("missing", ["export/model.onnx", "export/verification.json", "results.json"])
    def test_what_is_missing_of_a_finished_run_is_made_again(
        self, program: WarmProgram, trained: Trained, tmp_path: Path, missing: str
    ) -> None:
        run = RunFolder(shutil.copytree(trained.run.root, tmp_path / "run"))
        (run.root / missing).unlink()

        finished = program("train", "--resume", run.root, "report.enabled=false")

        assert finished.code == 0, finished
        assert "all 2 epochs are already trained: finishing" in finished.out
        assert (run.root / missing).is_file()
        assert run.onnx.read_bytes() == trained.run.onnx.read_bytes()

    @pytest.mark.parametrize("has_score", [True, False])
    def test_best_weights_of_an_epoch_that_the_run_does_not_know_are_named(
        self, program: WarmProgram, trained: Trained, tmp_path: Path, has_score: bool
    ) -> None:
        """As after a kill between the two checkpoints of an epoch, which a GPU then repeats with another score."""
        run = RunFolder(shutil.copytree(trained.run.root, tmp_path / "run"))
        content = torch.load(run.best_checkpoint, weights_only=True)
        recorded = content["callbacks"]["RunCheckpoint"]["best_epoch"]
        content["epoch"] = 7
        content["callbacks"]["RunCheckpoint"] |= {"best_epoch": 7 if has_score else 5, "best_model_score": 0.875}
        torch.save(content, run.best_checkpoint)
        run.results.unlink()

        finished = program("train", "--resume", run.root, "report.enabled=false")

        assert finished.code == 0, finished
        known = "which scored 0.8750 then" if has_score else "whose score is not known"
        expected = f"warning: {run.best_checkpoint} holds the weights of epoch 8, {known}; this run recorded epoch"
        assert f"{expected} {recorded + 1} with" in " ".join(f"{finished.out} {finished.err}".split()), finished
        results = json.loads(run.results.read_text())
        best, replaced = results["best"], results["replaced_best"]
        assert (best["epoch"], best["val/top1"] == 0.875) == ((7, True) if has_score else (recorded, False))
        assert (replaced["epoch"], replaced["found_epoch"]) == (recorded, 7)
        assert replaced["found_score"] == (0.875 if has_score else None)
        assert caveats(read_run(run.root))[0].title.startswith("best.ckpt holds the weights of epoch 8, not of the")
        assert json.loads(run.verification.read_text())["epoch"] == 7
        again = program("train", "--resume", run.root)
        assert "there is nothing left to do" in again.out

    @pytest.mark.parametrize("setting", ["export.opset_version=17", "export.tolerance=0.01"])
    def test_a_finished_run_that_is_to_be_exported_otherwise_is(
        self, program: WarmProgram, trained: Trained, tmp_path: Path, setting: str
    ) -> None:
        run = RunFolder(shutil.copytree(trained.run.root, tmp_path / "run"))

        finished = program("train", "--resume", run.root, setting, "report.enabled=false")

        assert finished.code == 0, finished
        name, value = setting.removeprefix("export.").split("=")
        assert json.loads(run.verification.read_text())[name] == float(value)
        assert program("train", "--resume", run.root).out.count("there is nothing left to do") == 1

    def test_a_run_that_stopped_early_stays_so(self, program: WarmProgram, photos: Path) -> None:
        # nothing changes, so no epoch is better than the first
        settings = (*TINY, "trainer.max_epochs=9", "optimizer.lr=1e-12", "model.freeze_norm_stats=true")
        words = (*settings, "trainer.early_stopping_patience=2", "export.enabled=false", "run.name=early-stop")
        finished = program("train", "shapes", *words)
        run = RunFolder(program.folder / "runs" / "early-stop")
        assert finished.code == 0, finished
        assert "stopped early: no better val/top1 in 2 epoch(s)" in finished.out
        before = run.metrics.read_bytes(), run.last_checkpoint.read_bytes()
        run.results.unlink()

        finished = program("train", "--resume", run.root)

        assert finished.code == 0, finished
        assert "all 3 epochs are already trained, by early stopping: finishing" in finished.out
        assert (run.metrics.read_bytes(), run.last_checkpoint.read_bytes()) == before
        assert json.loads(run.results.read_text())["epochs"] == 3

        more = program("train", "--resume", run.root, "trainer.early_stopping_patience=4")
        assert more.code == 0, more
        assert "stopped early: no better val/top1 in 4 epoch(s)" in more.out
        assert [row["epoch"] for row in metrics(run)] == ["0", "1", "2", "3", "4"]

    @pytest.mark.parametrize("damage", ["empty", "truncated", "missing"])
    def test_a_damaged_last_checkpoint_gives_way_to_the_one_before(
        self, program: WarmProgram, uninterrupted: RunFolder, stopped: RunFolder, tmp_path: Path, damage: str
    ) -> None:
        run = RunFolder(shutil.copytree(stopped.root, tmp_path / "runs" / "x"))
        earlier = checkpoint(run.checkpoints / "last-1.ckpt")["global_step"]
        content = run.last_checkpoint.read_bytes()
        run.last_checkpoint.unlink()
        if damage != "missing":
            run.last_checkpoint.write_bytes(content[: len(content) // 2 if damage == "truncated" else 0])

        again = program.signalled(signal.SIGKILL, "..last.ckpt.fresh", "train", "--resume", "runs/x", folder=tmp_path)

        (line,) = [line for line in again.out.splitlines() if "last.ckpt" in line and "warning" in line]
        assert "resuming from last-1.ckpt, the one before" in line
        assert 0 < earlier < 3 * STEPS_PER_EPOCH
        # else the damaged one would soon be the one before the next
        assert checkpoint(run.last_checkpoint)["global_step"] == earlier
        finished = program("train", "--resume", "runs/x", folder=tmp_path)
        assert finished.code == 0, finished
        assert "warning" not in finished.out
        assert_same(run, uninterrupted)

    def test_a_run_that_wrote_no_checkpoint_starts_anew(
        self, program: WarmProgram, trained: Trained, tmp_path: Path
    ) -> None:
        shutil.copytree(trained.run.root, tmp_path / "run")
        run = RunFolder(tmp_path / "run")
        shutil.rmtree(run.checkpoints)

        finished = program("train", "--resume", run.root, "report.enabled=false")

        assert finished.code == 0, finished
        assert "starting from the beginning" in finished.out
        assert equal(
            checkpoint(run.best_checkpoint)["state_dict"], checkpoint(trained.run.best_checkpoint)["state_dict"]
        )


class TestRefused:
    def test_a_run_without_any_whole_checkpoint(self, program: WarmProgram, trained: Trained, tmp_path: Path) -> None:
        run = RunFolder(shutil.copytree(trained.run.root, tmp_path / "run"))
        for path in run.checkpoints.iterdir():
            path.write_bytes(path.read_bytes()[:1000])

        finished = program("train", "--resume", run.root)

        assert finished.code == 2
        (line,) = finished.err.splitlines()
        assert f"no checkpoint of {run.root} can be used" in line
        for name in ("last.ckpt", "last-1.ckpt", "best.ckpt"):
            assert f"{name} is truncated" in line

    def test_a_setting_that_would_make_it_another_run(self, program: WarmProgram, trained: Trained) -> None:
        finished = program("train", "--resume", "runs/first", "optimizer.lr=1", "data.batch_size=9", "seed=3")

        assert finished.code == 2
        (line,) = finished.err.splitlines()
        for name in ("data.batch_size (8 → 9)", "optimizer.lr (0.0003 → 1.0)", "seed (0 → 3)"):
            assert name in line
        assert "It may change" in line

    def test_photos_of_other_classes(self, program: WarmProgram, trained: Trained, tmp_path: Path) -> None:
        folder = shutil.copytree(trained.photos, tmp_path / "photos")
        assert program("train", folder, *TINY, "trainer.max_epochs=1", "run.name=x", folder=tmp_path).code == 0
        run = RunFolder(tmp_path / "runs" / "x")
        before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
        make_shapes(folder, 8, ["black"])

        finished = program("train", "--resume", run.root, "trainer.max_epochs=2")

        assert finished.code == 2
        (line,) = finished.err.splitlines()
        assert "was trained on 3 classes" in line
        assert "have 4" in line
        assert {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()} == before

    def test_other_photos_of_the_same_classes(self, program: WarmProgram, trained: Trained, tmp_path: Path) -> None:
        folder = shutil.copytree(trained.photos, tmp_path / "photos")
        settings = (*TINY, "trainer.max_epochs=1", "run.name=x", "export.enabled=false")
        assert program("train", folder, *settings, folder=tmp_path).code == 0
        (folder / "red" / "00.png").unlink()

        finished = program("train", "--resume", "trainer.max_epochs=2", folder=tmp_path)

        assert finished.code == 2
        (line,) = finished.err.splitlines()
        assert "the photos have changed since runs/x began" in line

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--resume", "runs/none"), "no run folder at runs/none"),
            (("--resume=runs/none",), "no run folder at runs/none"),
            (("--resume", "shapes"), "shapes is not a run folder"),
            (("--resume", "run.dir=empty"), "no run in empty"),
            (("--resume", "runs/first", "--config", "runs/first/config.yaml"), "leave --config out"),
        ],
    )
    def test_what_is_no_run(self, program: WarmProgram, trained: Trained, words: tuple[str, ...], said: str) -> None:
        finished = program("train", *words)

        assert finished.code == 2
        (line,) = finished.err.splitlines()
        assert said in line


def test_without_reports_no_older_pictures_stay_beside_newer_scores(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    settings = (*TINY, "report.enabled=true", "export.enabled=false", "run.name=seen", f"run.dir={tmp_path}")
    assert program("train", "shapes", *settings, "trainer.max_epochs=1").code == 0
    run = RunFolder(tmp_path / "seen")
    split = run.scored(next(name for name in ("test", "val") if run.scored(name).images.is_file()))
    finished = program("train", "--resume", run.root, "trainer.max_epochs=3", "report.enabled=false")
    assert finished.code == 0, finished
    assert not split.images.exists()
    assert not list(split.root.glob("*.png"))
    assert split.scores.is_file()
