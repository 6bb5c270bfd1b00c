"""What several commands take: words, and options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier_training.errors import ConfigError

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say warnings and results only.")]


def split_arguments(words: list[str] | None) -> tuple[str | None, list[str]]:
    """A source and settings, in any order; a setting has a ``=``, unless it is an address, or a file of that name."""
    places = [word for word in words or [] if "://" in word.partition("=")[0] or "=" not in word or Path(word).exists()]
    if len(places) > 1:
        raise ConfigError(f"one folder is expected, got {len(places)}: {', '.join(places)}; settings are key=value")
    settings = [word for word in words or [] if word not in places]
    return (places[0] if places else None), settings
