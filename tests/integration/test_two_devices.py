"""Two processes train one model into one run folder."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path

from tests.helpers.cli import TINY, WarmProgram, run_program, wait_until

from classifier_training.run.folder import RunFolder


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


def test_two_devices_go_on_in_the_middle_of_an_epoch_with_the_same_bits(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    settings = (*TINY, "trainer.devices=2", "trainer.max_epochs=6", "data.batch_size=2", "checkpoint.every_n_steps=1")
    whole, stopped = (RunFolder(tmp_path / "runs" / name) for name in ("whole", "stopped"))
    with program.ranks("train", photos, *settings, "run.name=whole", folder=tmp_path) as ranks:
        ended = [rank.end() for rank in ranks]
    assert [end.code for end in ended] == [0, 0], ended

    with program.ranks("train", photos, *settings, "run.name=stopped", folder=tmp_path) as ranks:
        wait_until(ranks[0], stopped.last_checkpoint.is_file)
        os.kill(ranks[0].pid, signal.SIGTERM)
        ended = [rank.end() for rank in ranks]
    assert [end.code for end in ended] == [0, 0], ended
    assert not stopped.results.exists(), ended
    with program.ranks("train", "--resume", "runs/stopped", folder=tmp_path) as ranks:
        ended = [rank.end() for rank in ranks]

    assert [end.code for end in ended] == [0, 0], ended
    assert "batch" in next(line for line in ended[0].out.splitlines() if line.startswith("resuming at epoch"))
    assert stopped.metrics.read_bytes() == whole.metrics.read_bytes()
    assert stopped.onnx.read_bytes() == whole.onnx.read_bytes()
