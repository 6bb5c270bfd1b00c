"""`train`: what is in the run folder, where it lies, and that it can be repeated."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from tests.helpers.cli import TINY, Trained, WarmProgram, make_shapes

from classifier_training.config.schema import Config
from classifier_training.run.folder import RunFolder

QUICK = (*TINY, "trainer.max_epochs=1", "export.enabled=false", "--quiet")

SCORED = {
    "confusion_matrix.csv",
    "confusion_matrix.png",
    "confusion_matrix_normalized.png",
    "least_certain.png",
    "pictures.json",
    "predictions.csv",
    "samples.png",
    "scores.json",
    "worst_errors.png",
}
FILES = {
    *(f"{split}/{name}" for split in ("val", "test") for name in SCORED),
    *(
        f"plots/{name}.png"
        for name in ("history", "image_sizes", "images_per_class", "sampler_distribution", "train_batch")
    ),
    "data/sampler_distribution.csv",
    "data/statistics.json",
    "model_info.json",
    "plan.json",
    "report.html",
    "time.json",
    "trackers.json",
    "checkpoints/best.ckpt",
    "checkpoints/last-1.ckpt",
    "checkpoints/last.ckpt",
    "config.yaml",
    "data/split.csv",
    "environment.json",
    "export/labels_mapping.json",
    "export/model.onnx",
    "export/verification.json",
    "metrics.csv",
    "results.json",
    "test/probabilities.npy",
    "timings.csv",
    "train.log",
}


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    content: dict[str, dict[str, torch.Tensor]] = torch.load(run.best_checkpoint, weights_only=True)
    return content["state_dict"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


class TestTheRunFolder:
    def test_it_holds_these_files_and_nothing_temporary(self, trained: Trained) -> None:
        root = trained.run.root

        found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        folders = {"val/pictures/", "test/pictures/", "tensorboard/"}
        later = "evaluations/"  # of other tests
        assert {name for name in found if not name.startswith((*folders, later))} == FILES
        assert all(any(name.startswith(folder) for name in found) for folder in folders)

    def test_the_terminal_names_every_file(self, trained: Trained) -> None:
        for name in FILES:
            assert name in trained.finished.out, name

    def test_the_configuration_has_every_setting_resolved(self, trained: Trained) -> None:
        settings = yaml.safe_load(trained.run.config.read_text(encoding="utf-8"))

        assert settings.keys() == Config.model_fields.keys()
        assert settings["data"]["root"] == str(trained.photos)
        assert settings["data"]["crop_pct"] is not None
        assert settings["trainer"]["precision"] == "32-true"
        assert settings["model"]["freeze_epochs"] == 0
        assert settings["optimizer"]["backbone_lr_scale"] == 1.0

    def test_the_environment_tells_two_runs_apart(self, trained: Trained) -> None:
        environment = json.loads(trained.run.environment.read_text(encoding="utf-8"))

        assert environment["versions"]["torch"] == torch.__version__.partition("+")[0]
        assert environment["seed"] == 0
        assert environment["data_root"] == str(trained.photos)
        assert re.fullmatch("[0-9a-f]{32}", environment["data_fingerprint"])
        assert environment["cpu"]["count"] >= 1
        assert environment.keys() >= {"python", "git_commit", "memory_bytes", "gpus", "command"}

    def test_the_metrics_have_one_row_an_epoch(self, trained: Trained) -> None:
        with trained.run.metrics.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))

        assert [row["epoch"] for row in rows] == ["0", "1"]
        for row in rows:
            assert {name for name, value in row.items() if value} >= {
                "train/loss",
                "val/loss",
                "val/top1",
                "val/top5",
                "val/balanced_accuracy",
                "val/macro_f1",
                "lr",
            }

    def test_what_the_clock_decides_has_a_file_of_its_own(self, trained: Trained) -> None:
        with trained.run.timings.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))

        assert [row["epoch"] for row in rows] == ["0", "1"]
        assert all(float(row["seconds"]) > 0 and float(row["images_per_second"]) > 0 for row in rows)
        assert "images_per_second" not in trained.run.metrics.read_text(encoding="utf-8")

    def test_the_results_agree_with_the_metrics(self, trained: Trained) -> None:
        results = json.loads(trained.run.results.read_text(encoding="utf-8"))
        with trained.run.metrics.open(encoding="utf-8", newline="") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        best = min(rows, key=lambda row: (-row["val/top1"], row["val/loss"]))  # of equal scores the lowest loss

        assert results["monitor"] == "val/top1"
        assert results["best"] == {"epoch": best["epoch"], "val/top1": best["val/top1"]}
        assert results["epochs"] == 2
        assert results["export"]["passed"] is True

    def test_the_log_holds_all_that_was_said(self, trained: Trained) -> None:
        log = trained.run.log.read_text(encoding="utf-8")

        for line in trained.finished.out.splitlines():
            assert line.rstrip() in log


class TestTheTerminal:
    def test_it_tells_the_data_the_plan_and_the_score(self, trained: Trained) -> None:
        out = trained.finished.out

        assert re.search(r"photos: .*shapes, one folder per class", out)
        assert re.search(r"│ all +│ +\d+ │ +\d+ │ +\d+ │", out)
        assert "test_byobnet" in out
        assert len(re.findall(r"^epoch [12]/2  train/loss \d.*images/s", out, flags=re.MULTILINE)) == 2
        assert trained.finished.err == ""

    def test_a_screen_shows_a_bar_with_speed_and_time_left(self, program: WarmProgram, photos: Path) -> None:
        shown = program.on_screen("train", "shapes", *QUICK[:-1], "run.name=on-screen")

        assert "━" in shown
        assert re.search(r"step \d+/\d+  \d+ s left", shown)
        assert re.search(r"loss \d\.\d+.*\d+ images/s", shown)

    def test_an_early_stop_is_said(self, program: WarmProgram, photos: Path) -> None:
        settings = (*TINY, "trainer.max_epochs=9", "trainer.early_stopping_patience=1", "export.enabled=false")

        # nothing changes, so the second epoch is no better than the first
        unchanged = ("optimizer.lr=1e-12", "model.freeze_norm_stats=true")
        finished = program("train", "shapes", *settings, *unchanged, "run.name=patience")

        assert "stopped early: no better val/top1 in 1 epoch(s)" in finished.out
        assert "epoch 2/9" in finished.out
        assert "epoch 3/9" not in finished.out

    def test_quiet_says_warnings_and_the_result_only(self, program: WarmProgram, photos: Path) -> None:
        finished = program("train", "shapes", *QUICK, "run.name=quiet")

        *warnings, result = finished.out.splitlines()
        assert all(line.startswith("warning: ") for line in warnings)
        assert re.fullmatch(r"test top-1 .*% \(95 % interval .*%\) on \d+ images after .*: runs/quiet", result)


class TestWhereRunsGo:
    def test_a_run_is_named_by_date_time_and_model(self, program: WarmProgram, photos: Path, tmp_path: Path) -> None:
        finished = program("train", photos, *QUICK, folder=tmp_path)

        assert finished.code == 0, finished
        (name,) = names(tmp_path / "runs")
        assert re.fullmatch(r"\d{8}-\d{6}-test_byobnet", name)

    def test_run_dir_and_run_name(self, program: WarmProgram, photos: Path, tmp_path: Path) -> None:
        finished = program("train", photos, *QUICK, "run.dir=else/where", "run.name=my shirts", folder=tmp_path)

        assert finished.code == 0, finished
        assert (tmp_path / "else" / "where" / "my shirts" / "checkpoints" / "best.ckpt").is_file()
        assert names(tmp_path) == ["else"]

    def test_a_run_is_never_overwritten(self, program: WarmProgram, trained: Trained) -> None:
        before = {path: path.stat().st_mtime_ns for path in trained.run.root.rglob("*")}

        finished = program("train", "shapes", *QUICK, "run.name=first")

        assert finished.code == 2
        (line,) = finished.err.splitlines()
        assert line.startswith("error: run folder runs/first exists already and is never overwritten")
        assert line.endswith("or resume it: classifier-training train --resume runs/first")
        assert {path: path.stat().st_mtime_ns for path in trained.run.root.rglob("*")} == before

    def test_a_dry_run_tells_the_plan_and_writes_nothing(
        self, program: WarmProgram, photos: Path, tmp_path: Path
    ) -> None:
        finished = program("train", photos, *TINY, "--dry-run", folder=tmp_path)

        assert finished.code == 0, finished
        assert "nothing was written" in finished.out
        assert "test_byobnet" in finished.out
        assert names(tmp_path) == []


def test_its_own_configuration_repeats_a_run_bit_for_bit(program: WarmProgram, trained: Trained) -> None:
    finished = program("train", "--config", "runs/first/config.yaml", "--quiet")
    assert finished.code == 0, finished

    again = RunFolder(program.folder / "runs" / "first-2")
    first, second = weights(trained.run), weights(again)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert weights(trained.run).keys() == second.keys()
    assert json.loads(again.results.read_text())["test"] == json.loads(trained.run.results.read_text())["test"]


def test_another_seed_gives_another_run(program: WarmProgram, trained: Trained) -> None:
    settings = ("seed=1", "run.name=seed1", "report.enabled=false", "tracking.tensorboard=false", *QUICK[-2:])
    finished = program("train", "--config", "runs/first/config.yaml", *settings)
    assert finished.code == 0, finished

    first, other = weights(trained.run), weights(RunFolder(program.folder / "runs" / "seed1"))
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


@pytest.mark.parametrize("balance", ["sampler", "loss_weights", "logit_adjustment"])
def test_every_balance_trains_and_gives_the_same_number_again(program: WarmProgram, photos: Path, balance: str) -> None:
    finished = program("train", "shapes", *QUICK, f"data.balance={balance}", f"run.name={balance}")
    assert finished.code == 0, finished

    results = json.loads((program.folder / "runs" / balance / "results.json").read_text())
    scores = program("evaluate", f"runs/{balance}", "--split", "val", "--json").json
    assert scores["top1"] == results["best"]["val/top1"]


def test_class_names_are_text_from_the_folder_to_the_prediction(program: WarmProgram, tmp_path: Path) -> None:
    classes = ["00", "012", "1e3", "no", "null", "größe, [bold]"]
    for number, name in enumerate(classes):
        make_shapes(tmp_path / "photos" / name, 6, ["red"], seed=number)

    finished = program("train", "photos", *TINY, "trainer.max_epochs=1", "run.name=text", folder=tmp_path)

    assert finished.code == 0, finished
    run = RunFolder(tmp_path / "runs" / "text")
    labels = json.loads(run.labels_mapping.read_text(encoding="utf-8"))
    assert labels["class_to_idx"] == {name: number for number, name in enumerate(sorted(classes))}
    for model in (run.best_checkpoint, run.onnx):
        scored = program("evaluate", model, "--json").json
        assert [row["class"] for row in scored["classes"]] == sorted(classes)
    for name in classes:
        assert re.search(rf"│ {re.escape(name)} +│", finished.out), name
    predicted = program("predict", run.root, tmp_path / "photos", "--output", tmp_path / "labels.csv")
    assert predicted.code == 0, predicted
    with (tmp_path / "labels.csv").open(encoding="utf-8", newline="") as file:
        assert {row["label"] for row in csv.DictReader(file)} <= set(classes)


def test_settings_are_shown_and_listed(program: WarmProgram) -> None:
    shown = program("config", "show", "model=resnet50", "data.batch_size=7")
    listed = program("config", "options")

    assert yaml.safe_load(shown.out)["model"]["name"] == "resnet50"
    assert yaml.safe_load(shown.out)["data"]["batch_size"] == 7
    assert yaml.safe_load(shown.out).keys() == Config.model_fields.keys()
    for section, field in Config.model_fields.items():
        names_of_section = getattr(field.annotation, "model_fields", None)
        for name in [section] if names_of_section is None else [f"{section}.{name}" for name in names_of_section]:
            assert re.search(rf"^│ {re.escape(name)} ", listed.out, flags=re.MULTILINE), name
