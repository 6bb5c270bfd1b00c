"""Public names that are imported when they are asked for, so that importing a package costs nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Makes a package's ``__getattr__``.

    Args:
        package: The package's ``__name__``.
        homes: Module below the package by public name.
    """

    def get(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{home}"), name)

    return get


def lazy_dir(homes: Mapping[str, str]) -> Callable[[], list[str]]:
    """Makes a package's ``__dir__``, so that a shell can complete its names."""
    return lambda: sorted(homes)
