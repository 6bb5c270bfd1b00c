"""Deployed files, one file a form: build, compare with the trained model, publish; reading belongs to `inference`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.exporters.export import export as export

__all__, __getattr__, __dir__ = lazy_names(__name__, {"export": "export"})
