"""Two processes train one model into one run folder."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections import Counter
from pathlib import Path

from tests.helpers.cli import LOOKED_AT, TINY, WarmProgram, read_until, wait_until

from classifier_training.run.folder import RunFolder


def test_two_devices_write_one_run(program: WarmProgram, photos: Path, tmp_path: Path) -> None:
    settings = (*TINY, "data.test_fraction=0.3", "trainer.devices=2", "trainer.max_epochs=1")

    with program.ranks("train", photos, *settings, folder=tmp_path) as ranks:
        ended = [rank.end() for rank in ranks]

    assert [end.code for end in ended] == [0, 0], ended
    (root,) = (tmp_path / "runs").iterdir()
    run = RunFolder(root)
    said = "".join(end.out for end in ended)
    assert said.count("run folder: ") == 1
    assert said.count("epoch 1/1") == 1
    assert said.count("no splits given") == 1, said
    assert "warning: " not in said, said
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


def test_a_run_goes_on_within_an_epoch_on_more_and_on_fewer_devices_that_take_the_same_images(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    settings = (*TINY, *LOOKED_AT, "trainer.devices=1", "data.batch_size=4", "checkpoint.every_n_steps=1")
    run = RunFolder(tmp_path / "runs" / "one")
    with program.started(
        "train", photos, *settings, "trainer.max_epochs=2", "run.name=one", folder=tmp_path
    ) as process:
        wait_until(process, run.last_checkpoint.is_file)
        os.kill(process.pid, signal.SIGTERM)
        assert process.end().code == 0
    before = run.last_checkpoint.read_bytes()

    refused = program("train", "--resume", "runs/one", "trainer.devices=2", folder=tmp_path)
    assert refused.code == 2, refused
    (line,) = refused.err.splitlines()
    assert "was trained on 1 device(s) with data.batch_size=4, the settings now say 2" in line
    words = "trainer.devices=2 data.batch_size=2"
    assert f"type: classifier-training train --resume runs/one {words} (the same 4 images" in line
    assert run.last_checkpoint.read_bytes() == before

    with program.ranks("train", "--resume", "runs/one", *words.split(), folder=tmp_path) as ranks:
        read_until(ranks[0], "resuming at epoch 1, batch ")
        wait_until(ranks[0], lambda: run.last_checkpoint.read_bytes() != before)
        os.kill(ranks[1].pid, signal.SIGTERM)
        ended = [rank.end() for rank in ranks]
    assert [end.code for end in ended] == [0, 0], ended
    back = program("train", "--resume", "runs/one", "trainer.devices=1", "data.batch_size=4", folder=tmp_path)

    assert back.code == 0, back
    with run.sampler_distribution.open(encoding="utf-8", newline="") as file:
        sampled: Counter[str] = Counter()
        for row in csv.DictReader(file):
            sampled[row["epoch"]] += int(row["drawn"])
    assert len(sampled) == 2
    assert set(sampled.values()) == {len(photos_of(run, "train")) // 4 * 4}


def photos_of(run: RunFolder, split: str) -> list[str]:
    with run.split.open(encoding="utf-8", newline="") as file:
        return [row["path"] for row in csv.DictReader(file) if row["split"] == split]
