"""How to repeat the run: commands, settings, environment, files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.section import Section
from classifier_training.pages.wording import byte_size, decimal

KEY, TITLE = "repeat", "Commands and configuration"
MOST_FILES = 200  # that are listed
_COMMANDS = {
    "predict": "Predict photos",
    "evaluate": "Evaluate again (for other photos, add their folder)",
    "repeat": "Repeat this training",
    "resume": "Resume this training",
}


def configuration_section(data: RunData) -> Section:
    """Commands, settings, versions and hardware, and the files of the folder."""
    shown = dict.fromkeys((*_COMMANDS, *data.commands))
    values = {
        "commands": [(_COMMANDS.get(key, key), data.commands[key]) for key in shown if key in data.commands],
        "settings": settings_by_section(data.config),
        "environment": list(_flat(data.environment)),
        "model": _model(data),
        "files": _files(data.root),
    }
    return Section(KEY, TITLE, values=values)


def settings_by_section(config: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Settings by their dotted keys, section by section; those without a section come first."""
    plain = [(key, _text(value)) for key, value in config.items() if not isinstance(value, Mapping)]
    grouped = [
        (section, [(f"{section}.{key}", _text(value)) for key, value in settings.items()])
        for section, settings in config.items()
        if isinstance(settings, Mapping)
    ]
    return [*([("general", plain)] if plain else []), *grouped]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _flat(values: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, str]]:
    """The environment as rows; versions are listed by the names of the packages."""
    for key, value in values.items():
        name = f"{start}{key}".replace("_", " ")
        if key == "versions" and isinstance(value, Mapping):
            yield from ((package, _text(version)) for package, version in value.items())
        elif isinstance(value, Mapping):
            yield from _flat(value, f"{name} ")
        elif key == "memory_bytes" and isinstance(value, int):
            yield "memory", byte_size(value)
        elif isinstance(value, list | tuple):
            yield name, " ".join(_text(one) for one in value) or "none"
        else:
            yield name, "none" if value is None else _text(value)


def _model(data: RunData) -> list[tuple[str, str]]:
    info = data.model_info
    if info is None:
        return []
    rows = [
        ("model", info.model),
        ("input", " × ".join(map(str, info.input or ())) or "not known"),
        ("parameters", f"{info.num_parameters:,}"),
        ("trainable parameters", f"{info.num_trainable_parameters:,}"),
        ("size of the weights", byte_size(info.size_bytes)),
    ]
    if info.flops is not None:
        rows.append(("operations for one photo", f"{info.flops / 1e9:,.3g} GFLOPs (a multiply-add is two)"))
    if info.latency is not None:
        latency = info.latency
        most = f"95 of 100 under {decimal(latency.p95_ms)} ms"
        rows.append(("time for one photo", f"{decimal(latency.median_ms)} ms ({most}) on {latency.device}"))
    return rows


def _files(root: Path) -> list[tuple[str, str]]:
    """Names and sizes of the files of a run, without small images."""
    found: list[tuple[str, str]] = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "pictures")
        for name in sorted(names):
            path = Path(folder) / name
            if not name.startswith("."):
                found.append((one_line(path.relative_to(root).as_posix()), _size(path)))
            if len(found) >= MOST_FILES:
                return found
    return found


def _size(path: Path) -> str:
    try:
        return byte_size(path.stat().st_size)
    except OSError:
        return "gone"
