"""One form for equal values, so that equal checkpoints are equal files."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Any


def canonical(value: Any) -> Any:
    """Rebuilds nested dictionaries, lists and tuples, with equal texts being one object.

    A pickle writes an object that occurs twice once, and refers to it. Which texts are one object depends on whether
    they were just read from a file, so that a resumed run would write other bytes than an uninterrupted one.

    Args:
        value: Plain values and tensors; tensors, and everything else that is not a container, stay the same objects.
    """
    kind = type(value)
    if kind is str:
        return sys.intern(value)
    if kind is dict or kind is OrderedDict:
        rebuilt = kind((canonical(key), canonical(entry)) for key, entry in value.items())
        for name, attribute in vars(value).items() if kind is OrderedDict else ():
            setattr(rebuilt, name, canonical(attribute))  # torch keeps the versions of modules in one
        return rebuilt
    if kind is list or kind is tuple:
        return kind(canonical(entry) for entry in value)
    return value
