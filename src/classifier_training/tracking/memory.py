"""``trackers.json``: what a resumed run needs to continue the same runs in its trackers."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from classifier_training.files.atomic import write_json


class TrackerMemory:
    """Plain values by tracker, rewritten as a whole with every change; the threads of all trackers may use it.

    Args:
        path: The file, which is read at once; a damaged one is treated as empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._values = _read(path)

    def of(self, name: str) -> dict[str, Any]:
        """The values of a tracker; none in a new run."""
        with self._lock:
            return dict(self._values.get(name, {}))

    def update(self, name: str, **values: Any) -> None:
        """Stores values of a tracker.

        Raises:
            OSError: The file cannot be written.
        """
        with self._lock:
            self._values[name] = {**self._values.get(name, {}), **values}
            write_json(self.path, {"format": 1, "trackers": self._values})


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        trackers = json.loads(path.read_text(encoding="utf-8"))["trackers"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    if not isinstance(trackers, dict):
        return {}
    return {name: values for name, values in trackers.items() if isinstance(values, dict) and _is_valid(values)}


def _is_valid(values: dict[str, Any]) -> bool:
    """Whether the values have the types they were written with: the file may have been edited."""
    figures = values.get("figures", {})
    return (
        all(isinstance(values.get(name, ""), str) for name in ("id", "run_id", "uri"))
        and all(isinstance(values.get(name, 0), int) for name in ("step", "last_step"))
        and isinstance(figures, dict)
        and all(isinstance(figure, dict) and isinstance(figure.get("step"), int) for figure in figures.values())
    )
