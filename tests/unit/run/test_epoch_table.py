from __future__ import annotations

from pathlib import Path

from classifier_training.run.epoch_table import EpochTable


def test_rows_come_in_the_order_of_epochs_with_the_first_columns_first(tmp_path: Path) -> None:
    table = EpochTable(tmp_path / "deep" / "a.csv", ("step", "loss"))
    table.write(0, {"z": "1", "loss": "0.5", "a": "2", "step": "8"})
    table.write(1, {"step": "16", "a": "3"})
    assert table.path.read_text() == "epoch,step,loss,a,z\n0,8,0.5,2,1\n1,16,,3,\n"


def test_a_row_of_an_epoch_is_replaced(tmp_path: Path) -> None:
    table = EpochTable(tmp_path / "a.csv", ())
    table.write(0, {"a": "1"})
    table.write(1, {"a": "2"})
    table.write(1, {"a": "3"})
    assert table.path.read_text() == "epoch,a\n0,1\n1,3\n"


def test_another_process_resumes_with_the_file(tmp_path: Path) -> None:
    first = EpochTable(tmp_path / "a.csv", ())
    for epoch in range(3):
        first.write(epoch, {"a": f"old {epoch}"})
    before = first.path.read_bytes()

    second = EpochTable(tmp_path / "a.csv", ())
    second.read(2)
    assert first.path.read_bytes() == before, "reading changes nothing"
    second.write(2, {"a": "new 2"})
    assert first.path.read_text() == "epoch,a\n0,old 0\n1,old 1\n2,new 2\n"


def test_a_new_run_takes_nothing_over(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("epoch,a\n0,1\n")
    table = EpochTable(path, ())
    table.read(0)
    table.write(0, {"b": "2"})
    assert path.read_text() == "epoch,b\n0,2\n"
    missing = EpochTable(tmp_path / "none.csv", ())
    missing.read(5)
    assert not missing.rows


def test_an_empty_file_and_an_empty_line_are_no_rows(tmp_path: Path) -> None:
    table = EpochTable(tmp_path / "metrics.csv", ())
    table.path.touch()
    table.read(2)
    assert table.rows == []
    table.path.write_text("epoch,loss\n0,1.5\n\n", encoding="utf-8")
    table.read(2)
    assert table.rows == [{"epoch": "0", "loss": "1.5"}]
