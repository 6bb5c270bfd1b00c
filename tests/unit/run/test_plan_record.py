from __future__ import annotations

from pathlib import Path

from classifier_training.run.folder import RunFolder
from classifier_training.run.plan_record import PlanRecord, write_plan
from classifier_training.run.records import read_record

ROWS = {"recipe": "finetune, as there are weights", "backbone": "from weights", "training": "batch size 32"}


def test_a_resumed_run_keeps_what_it_began_with_but_its_batches(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_plan(run, ROWS, is_resumed=False)
    write_plan(run, {"backbone": "from its checkpoint", "training": "batch size 16 × 2"}, is_resumed=True)

    rows = read_record(run.plan, PlanRecord).rows
    assert rows == ROWS | {"training": "batch size 16 × 2"}
    assert list(rows) == list(ROWS)


def test_a_run_of_an_early_version_gets_no_plan_when_it_is_resumed(tmp_path: Path) -> None:
    write_plan(RunFolder(tmp_path), ROWS, is_resumed=True)
    assert not RunFolder(tmp_path).plan.exists()


def test_a_run_that_starts_from_the_beginning_again_keeps_the_reasons_of_its_first_start(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_plan(run, {"model=auto": "a Lite model, as there is a CPU", **ROWS, "optimizer": "lr find"}, is_resumed=False)
    write_plan(run, {**ROWS, "optimizer": "lr 0.01"}, is_resumed=False)

    rows = read_record(run.plan, PlanRecord).rows
    assert list(rows) == ["model=auto", *ROWS, "optimizer"]
    assert rows["optimizer"] == "lr 0.01"
