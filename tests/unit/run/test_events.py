from __future__ import annotations

from datetime import datetime
from pathlib import Path

from classifier_training.run.events import Events, note_event
from classifier_training.run.folder import RunFolder
from classifier_training.run.records import read_record


def test_events_follow_each_other_with_their_time(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    note_event(run, "stopped in epoch 2/3")
    note_event(run, "resumed at\nepoch 2")

    first, second = read_record(run.events, Events).events
    assert first.text == "stopped in epoch 2/3"
    assert second.text.startswith("resumed at")
    assert datetime.fromisoformat(first.time) <= datetime.fromisoformat(second.time)


def test_a_damaged_file_is_begun_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.events.write_text('{"format": 1, "events": [{"time": 3}]}', encoding="utf-8")
    note_event(run, "stopped")
    assert [one.text for one in read_record(run.events, Events).events] == ["stopped"]
