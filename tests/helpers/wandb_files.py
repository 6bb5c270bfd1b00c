"""Reads what Weights & Biases writes in offline mode: a log of records, which the library itself only sends."""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HEADER_LENGTH = 7  # of the file, and of every part of a record
BLOCK_LENGTH = 32768


@dataclass
class OfflineRun:
    """The content of one ``offline-run-…`` folder."""

    id: str = ""
    name: str = ""
    project: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Values by name, by step."""
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[Any] = field(default_factory=list)
    exit_code: int | None = None


def offline_runs(folder: Path) -> list[OfflineRun]:
    """All runs below a ``wandb/`` folder, the oldest first."""
    import wandb

    wandb.teardown()  # its process writes a little later than it says
    return [_read(path) for path in sorted(folder.glob("offline-run-*/run-*.wandb"))]


def _read(path: Path) -> OfflineRun:
    messages: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    run = OfflineRun()
    for content in _records(path.read_bytes()):
        record = messages.Record()
        record.ParseFromString(content)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.id, run.name, run.project = record.run.run_id, record.run.display_name, record.run.project
            run.config |= _values(record.run.config.update)
        elif kind == "history":
            values = _values(record.history.item)
            run.history.setdefault(record.history.step.num, {}).update(values)
        elif kind == "summary":
            run.summary |= _values(record.summary.update)
        elif kind == "artifact":
            run.artifacts.append(record.artifact)
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(content: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: parts that are whole (1), first (2), middle (3) or last (4)."""
    position, parts = HEADER_LENGTH, b""
    while position + HEADER_LENGTH <= len(content):
        left = BLOCK_LENGTH - position % BLOCK_LENGTH
        if left < HEADER_LENGTH:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + HEADER_LENGTH])
        position += HEADER_LENGTH
        parts += content[position : position + length]
        position += length
        if kind in {1, 4}:
            yield parts
            parts = b""
