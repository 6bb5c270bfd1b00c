"""Images written as tar shards, and the public `prepare`; reading shards belongs to `sources`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_dir, lazy_names

if TYPE_CHECKING:
    from classifier_training.data.packing.prepare import prepare as prepare

_HOMES = {"prepare": "prepare"}

__all__ = sorted(_HOMES)

__getattr__ = lazy_names(__name__, _HOMES)
__dir__ = lazy_dir(_HOMES)
