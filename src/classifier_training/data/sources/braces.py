"""Patterns such as ``train-{000..009}.tar``, as bash expands them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from classifier_training.data.sources.address import is_remote, shown
from classifier_training.errors import DataError

MAX_FILES: Final = 1_000_000
_BRACES: Final = re.compile(r"\{([^{}]*)\}")
_RANGE: Final = re.compile(r"(\d+)\.\.(\d+)")


def is_pattern(root: str) -> bool:
    """Whether a root stands for several files: it has braces, and no file or folder has that very name."""
    return _BRACES.search(root) is not None and (is_remote(root) or not Path(root).exists())


def expand_braces(pattern: str) -> list[str]:
    """The texts that a pattern stands for, as bash expands them.

    Raises:
        DataError: It has braces that are neither a range of numbers nor a list, or stands for too many.

    Example:
        >>> expand_braces("train-{08..10}.tar")
        ['train-08.tar', 'train-09.tar', 'train-10.tar']
        >>> expand_braces("{train,val}-{0..1}.tar")
        ['train-0.tar', 'train-1.tar', 'val-0.tar', 'val-1.tar']
    """
    texts = [""]
    position = 0
    for braces in _BRACES.finditer(pattern):
        choices = _choices(pattern, braces[1])
        if len(texts) * len(choices) > MAX_FILES:
            raise DataError(f"{shown(pattern)} stands for more than {MAX_FILES} files")
        before = pattern[position : braces.start()]
        texts = [f"{text}{before}{choice}" for text in texts for choice in choices]
        position = braces.end()
    rest = pattern[position:]
    if set("{}") & set(texts[0] + rest):
        raise DataError(f"{shown(pattern)} has braces in braces, or one alone; expected shards/train-{{000..009}}.tar")
    return [text + rest for text in texts]


def _choices(pattern: str, inside: str) -> Sequence[str]:
    numbers = _RANGE.fullmatch(inside)
    if numbers is None:
        if "," not in inside:
            raise DataError(
                f"{shown(pattern)}: {{{inside}}} is neither a range such as {{000..009}} nor a list such as {{a,b}}"
            )
        return inside.split(",")
    first, last = int(numbers[1]), int(numbers[2])
    if abs(last - first) >= MAX_FILES:
        raise DataError(f"{shown(pattern)} stands for more than {MAX_FILES} files")
    is_padded = any(text.startswith("0") and len(text) > 1 for text in numbers.groups())
    width = max(map(len, numbers.groups())) if is_padded else 0
    step = 1 if first <= last else -1
    return [f"{number:0{width}d}" for number in range(first, last + step, step)]
