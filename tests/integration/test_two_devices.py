"""Two processes train one model into one run folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from tests.helpers.cli import TINY, WarmProgram, run_program

from classifier_training.runs import RunFolder


def test_two_devices_write_one_run(program: WarmProgram, photos: Path, tmp_path: Path) -> None:
    settings = (*TINY, "data.test_fraction=0.3", "trainer.devices=2", "trainer.max_epochs=1")

    finished = run_program("train", photos, *settings, folder=tmp_path)

    assert finished.code == 0, finished
    (root,) = (tmp_path / "runs").iterdir()
    run = RunFolder(root)
    assert finished.out.count("run folder: ") == 1
    assert finished.out.count("epoch 1/1") == 1
    assert finished.out.count("no splits given") == 1, finished.out
    assert "warning: " not in finished.out, finished.out
    results = json.loads(run.results.read_text(encoding="utf-8"))
    with run.split.open(encoding="utf-8", newline="") as file:
        num_test = [row["split"] for row in csv.DictReader(file)].count("test")
    # every image once: neither one process's share, nor padded to a whole number of batches
    assert results["test"]["num_images"] == num_test
    for model in (run.best_checkpoint, run.onnx):
        assert program("evaluate", model, "--json").json["top1"] == results["test"]["top1"]
        val = program("evaluate", model, "--split", "val", "--json").json
        assert val["top1"] == results["best"]["val/top1"]
