"""Settings that somebody gave, each with its value and its origin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from classifier_training.config.options import show_value


@dataclass(frozen=True, slots=True)
class Override:
    """One setting with its value, or the choice of a preset.

    Attributes:
        key: Dotted name of the setting, ``data.batch_size``; for a preset its group, ``model``.
        value: What it is set to, as a plain Python value; still to be validated.
        origin: Where it was given: ``command line``, ``exp.yaml:7``, ``preset model=resnet50``.
        text: The value as it was written; None for one that was given in Python.
        entry: For a setting with one value per class name: the one class that is set; None sets the whole.
    """

    key: str
    value: object
    origin: str
    text: str | None = None
    entry: str | None = None

    @property
    def shown(self) -> str:
        """The value as messages show it."""
        return show_value(self.value) if self.text is None else self.text


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings in the order in which they were given; of two for one setting the later one wins.

    Attributes:
        settings: What is set.
        faults: One line for each fault in what was given; `load_config` reports them together with wrong values.
    """

    settings: tuple[Override, ...] = ()
    faults: tuple[str, ...] = ()

    @classmethod
    def of(cls, read: Iterable[Override | str]) -> Overrides:
        """Sorts settings and the lines of faults, each in their order."""
        items = list(read)
        return cls(
            tuple(item for item in items if isinstance(item, Override)),
            tuple(item for item in items if isinstance(item, str)),
        )

    def __bool__(self) -> bool:
        """Whether anything was given."""
        return bool(self.settings or self.faults)

    def last(self, key: str) -> Override | None:
        """The setting that wins; None where it is not given."""
        return next((one for one in reversed(self.settings) if one.key == key), None)

    def only(self, is_wanted: Callable[[str], bool]) -> Overrides:
        """The settings whose key is wanted, and the faults."""
        return Overrides(tuple(one for one in self.settings if is_wanted(one.key)), self.faults)


OverrideLike = str | Mapping[str, Any] | Sequence[str] | Overrides
"""How the public functions take settings."""
