"""Checks of one stage of a plan, whose faults are named together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from classifier_training.errors import ConfigError, ModelError, UserError


def check_all(checks: Iterable[Callable[[], object]]) -> None:
    """Makes checks that do not depend on each other, and reports what all of them find in one answer.

    Raises:
        ConfigError: One of them failed, or several did: a line for each fault.
        ModelError: One of them alone failed with it.
    """
    found: list[UserError] = []
    for check in checks:
        try:
            check()
        except (ConfigError, ModelError) as error:
            found.append(error)
    if len(found) == 1:
        raise found[0]
    if found:
        raise ConfigError("\n".join(dict.fromkeys(map(str, found))))
