"""The configuration of a run as a page shows it, as any version of this program wrote it, without validation."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from classifier_training.files.text import plain_text
from classifier_training.pages.read.reading import plain_value
from classifier_training.run.records import DamagedFileError

_MAX_BYTES = 2**22
_DEEPEST = 16
SECTIONS = ("checkpoint", "data", "ema", "export", "loss", "model", "optimizer", "report", "run", "scheduler",
            "tracking", "trainer")  # fmt: skip


def read_settings(path: Path) -> dict[str, Any]:
    """Reads ``config.yaml``: settings by section; every existing one of `SECTIONS` is a mapping.

    Raises:
        DamagedFileError: The file is not a YAML mapping, or has references, which could make a small file huge.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise DamagedFileError(f"has more than {_MAX_BYTES} bytes")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # written in C where there is a compiler, and much faster
    try:
        text, depth = path.read_text(encoding="utf-8-sig"), 0
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > _DEEPEST:
                raise DamagedFileError("has references, or is nested too deeply")
        values = yaml.load(text, Loader=loader)  # noqa: S506 - it is the safe one
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
    ) as error:  # an invalid date, a list as a key, not UTF-8
        if isinstance(error, DamagedFileError):
            raise
        raise DamagedFileError("is not valid YAML") from None
    if not isinstance(values, dict):
        raise DamagedFileError("holds no settings")
    broken = [name for name in SECTIONS if not isinstance(values.get(name, {}), dict)]
    if broken:
        raise DamagedFileError(f"holds no settings in {broken[0]}")
    settings: dict[str, Any] = plain_value(values)
    return settings


def setting(config: Mapping[str, Any], section: str, name: str) -> Any:
    """A setting; None where it is not known."""
    values = config.get(section)
    return values.get(name) if isinstance(values, dict) else None


def shell_command(*arguments: str | Path) -> str:
    """A command to paste into a shell, whatever its arguments contain."""
    return " ".join(_quoted(str(argument)) for argument in arguments)


def _quoted(argument: str) -> str:
    """An argument that a shell reads as it was; bytes that cannot be shown are escaped."""
    if argument.isprintable():
        return shlex.quote(argument)
    written = argument.encode("utf-8", "surrogateescape")
    return (
        "$'" + "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in written) + "'"
    )


def plain_name(path: Path) -> str:
    """The name of a folder, human-readable."""
    return plain_text(path.resolve().name or str(path))
