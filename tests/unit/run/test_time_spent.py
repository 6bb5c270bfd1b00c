from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.run.folder import RunFolder
from classifier_training.run.records import read_record
from classifier_training.run.time_spent import TimeSpent, add_time, keep_first_forecast, time_spent_on


def test_the_parts_add_up_over_processes_and_keep_the_forecast(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    add_time(run, "start", 2.5)
    keep_first_forecast(run, 0.87, 0.8, 0.9)
    add_time(run, "start", 1.25)
    with pytest.raises(KeyError), time_spent_on(run, "training"):
        raise KeyError

    found = read_record(run.time, TimeSpent)
    assert found.seconds["start"] == 3.75
    assert 0 <= found.seconds["training"] < 60, "what was spent counts also where it ended with an error"
    assert found.forecast is not None
    assert (found.forecast.value, found.forecast.low, found.forecast.high) == (0.87, 0.8, 0.9)


def test_a_damaged_record_is_begun_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.time.write_text("{", encoding="utf-8")
    add_time(run, "probe", 1.0)
    assert read_record(run.time, TimeSpent).seconds == {"probe": 1.0}


def test_a_record_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match=r"time\.json could not be made"):
        add_time(RunFolder(tmp_path / "file"), "start", 1.0)
