"""HTML pages made from files alone: the report of a run, the comparison of several; nothing here scores or trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.pages.write import compare as compare
    from classifier_training.pages.write import report as report

__all__, __getattr__, __dir__ = lazy_names(__name__, {"compare": "write", "report": "write"})
