"""What a source found: labelled pictures, in the splits that the source itself defines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from classifier_training.types import Sample

Split = Literal["train", "val", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
SPLIT_OF_NAME: Final[Mapping[str, Split]] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """The labelled pictures of one root.

    Attributes:
        layout: How the photos lie, for a person.
        splits: The pictures of each split that the source defines, in a stable order.
        places: Where each of the splits lies: its folder or its table.
        unsplit: The pictures when the source defines no splits; then ``splits`` is empty.
        warnings: What a person should know: empty class folders, ignored files.
    """

    layout: str
    splits: Mapping[Split, list[Sample]] = field(default_factory=dict)
    places: Mapping[Split, str] = field(default_factory=dict)
    unsplit: list[Sample] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def samples(self) -> list[Sample]:
        """Every picture, with or without a split."""
        return [*self.unsplit, *(sample for samples in self.splits.values() for sample in samples)]
