"""Public names that are imported on first access, so that importing a package costs nothing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any


class _LazyPackage(ModuleType):
    """A package whose public names win over submodules of the same name, as `train` does over ``train.py``."""

    _homes: Mapping[str, str]

    def __setattr__(self, name: str, value: Any) -> None:
        """Python binds every imported submodule in its package; it must not hide a public function."""
        if not (isinstance(value, ModuleType) and name in self._homes):
            super().__setattr__(name, value)


def lazy_names(
    package: str, homes: Mapping[str, str], *others: str
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Builds a package's ``__all__``, ``__getattr__`` and ``__dir__``; the last lets a shell complete its names.

    Args:
        package: The package's ``__name__``.
        homes: Module below the package by public name.
        others: Further names for ``__dir__``.
    """

    def get(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{home}"), name)

    module = sys.modules[package]
    module.__dict__["_homes"] = homes
    module.__class__ = _LazyPackage
    return sorted(homes), get, lambda: sorted([*homes, *others])
