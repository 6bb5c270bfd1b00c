from __future__ import annotations

import json
from pathlib import Path

import pytest

from classifier_training.tracking.memory import TrackerMemory


def test_the_next_process_reads_what_was_stored(tmp_path: Path) -> None:
    memory = TrackerMemory(tmp_path / "trackers.json")
    memory.update("wandb", id="abc", step=6)
    memory.update("wandb", step=12)
    memory.update("mlflow", run_id="def")
    assert TrackerMemory(memory.path).of("wandb") == {"id": "abc", "step": 12}
    assert TrackerMemory(memory.path).of("mlflow") == {"run_id": "def"}
    assert TrackerMemory(memory.path).of("tensorboard") == {}


def test_creating_it_touches_no_disk(tmp_path: Path) -> None:
    TrackerMemory(tmp_path / "trackers.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"trackers": 3}',
        '{"trackers": {"wandb": 3}}',
        '{"trackers": {"wandb": {"id": 3}}}',
        '{"trackers": {"wandb": {"step": "many"}}}',
        '{"trackers": {"wandb": {"figures": {"plots/history": 3}}}}',
    ],
)
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "trackers.json"
    path.write_text(content)
    memory = TrackerMemory(path)
    assert memory.of("wandb") == {}
    memory.update("wandb", id="abc")
    assert json.loads(path.read_text()) == {"format": 1, "trackers": {"wandb": {"id": "abc"}}}
