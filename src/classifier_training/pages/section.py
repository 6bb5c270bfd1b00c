"""What every section of the report has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.wording import count


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the report.

    Attributes:
        key: Its anchor, and the name of its template in ``templates/sections``.
        title: Its heading.
        lead: What it shows in this run, in one or two sentences.
        empty: Why there is nothing to show; None where there is something.
        is_of_training: Whether it is about the training, which an evaluation has none of.
        values: The values of its template.
    """

    key: str
    title: str
    lead: str = ""
    empty: str | None = None
    is_of_training: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)


def num_all_epochs(data: RunData) -> int:
    """How many epochs a run has, or will have when it is finished."""
    wanted = data.max_epochs if data.status == "training" else None
    return max(data.num_epochs, wanted or 0)


def shown_scores_name(split: str | None) -> str:
    """The name of the photos of a split in a sentence."""
    return {"test": "test photos", "val": "validation photos", "train": "training photos"}.get(split or "", "photos")


def count_photos(scored: ScoredData) -> str:
    """The number of scored photos with their name: ``1 test photo``, ``12,345 validation photos``."""
    photos = shown_scores_name(scored.split)
    return count(scored.num_images, photos[:-1], photos)
