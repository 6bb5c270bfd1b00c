"""The commands, one file each: parse the arguments, call the function of the Python API, show the result.

No work of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.cli.main import main as main

__all__, __getattr__, __dir__ = lazy_names(__name__, {"main": "main"})
