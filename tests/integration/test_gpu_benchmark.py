"""The benchmark for a GPU runs on a CPU too, in its small form: all of its parts, with numbers that say nothing."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from tests.helpers.cli import WarmProgram

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys

sys.path.insert(0, sys.argv[1])
from benchmarks.gpu import main

main(["--small"])
"""


def test_every_part_of_the_benchmark_for_a_gpu_runs(program: WarmProgram, tmp_path: Path) -> None:
    finished = program.python(SCRIPT, ROOT, folder=tmp_path)

    assert finished.code == 0, finished
    lines = finished.out.splitlines()
    found = [re.fullmatch(r"\| (.+?) \| (.+) \|", line) for line in lines]
    rows = {row[1]: row[2] for row in found if row is not None}
    for title in ("bare loop, data on the device", "a run, data on the device", "a run, from its loader"):
        (rate,) = re.findall(r"^([\d,]+) images/s", rows[f"test_vit: {title}"])
        assert int(rate.replace(",", "")) > 0
    if not torch.cuda.is_available():
        assert rows["test_resnet: waits for the device per step"] == "0"
    assert {"EMA of test_resnet: update", "EMA of test_resnet: exchange and back"} <= rows.keys()
    assert rows["test_resnet: float32 scored twice"] == "equal to the bit"
    assert re.search(r", largest difference of a logit ", rows["test_resnet: predictions that differ"])
    assert rows["test_resnet: killed after step 5 and resumed"] == "equal to the bit"
    assert lines[-1].endswith(" s in all (target: 480)")
