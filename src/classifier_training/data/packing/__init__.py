"""Images written as tar shards, and the public `prepare`; reading shards belongs to `sources`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.data.packing.prepare import prepare as prepare

__all__, __getattr__, __dir__ = lazy_names(__name__, {"prepare": "prepare"})
