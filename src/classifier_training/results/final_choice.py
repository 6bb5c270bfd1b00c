"""The choice of the final weights among those that a training leaves, as ``results.json`` and ``best.ckpt`` hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from classifier_training.run.records import Count, Items, Number, Share

FINAL_CHOICE: Final = "final_choice"
"""Key of a ``best.ckpt`` whose weights were chosen after the training, instead of being those of the best epoch."""

PROBE: Final = "probe"
"""The name of the candidate that is the probe."""

IS_PROBE: Final = "is_probe"
"""Key of the checkpoint that holds the probe, which is of no epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Weights that could have been the final ones, scored on the validation images in float32.

    Attributes:
        name: What they are: ``probe``, ``epoch 14``, ``average of epochs 12, 14``.
        loss: The validation loss.
        top1: The validation top-1.
        difference: How much higher the loss is than that of the chosen weights.
        standard_error: Of the difference, from the differences of the single images; None with one image.
    """

    name: str
    loss: Number
    top1: Share
    difference: Number
    standard_error: Number | None = None

    def describe_difference(self) -> str:
        """How much higher the loss is than that of the chosen weights, with its standard error; empty for these."""
        if self.difference == 0:
            return ""
        error = "" if self.standard_error is None else f" ± {self.standard_error:.4f}"
        return f"+{self.difference:.4f}{error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalChoice:
    """The candidates and the chosen one, which has the lowest validation loss.

    Attributes:
        chosen: Its name.
        candidates: All of them, the lowest loss first.
        num_images: Validation images.
        left_out: Which candidates there were none of, and why; empty where there were all.
    """

    chosen: str
    candidates: Items[Candidate]
    num_images: Count
    left_out: str = ""

    def __post_init__(self) -> None:
        if not self.candidates or self.candidates[0].name != self.chosen:
            raise ValueError("has a choice of weights whose first candidate is not the chosen one")

    @property
    def best(self) -> Candidate:
        """The chosen weights."""
        return self.candidates[0]

    def sentence(self) -> str:
        """What was chosen, and by which margin."""
        others = self.candidates[1:]
        images = f"{self.num_images:,} validation images"
        if not others:
            return f"{self.chosen}, the only candidate"
        margin = f"its validation loss, {self.best.loss:.4f}, is {others[0].difference:.4f} lower than that of"
        rest = f" the next candidate, {others[0].name}"
        probe = next((one for one in others[1:] if one.name == PROBE), None)
        if probe is not None:
            rest += f", and {probe.difference:.4f} lower than that of the {PROBE}"
        return f"{self.chosen}: {margin}{rest} ({images})"

    def to_plain(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {**asdict(self), "candidates": [asdict(one) for one in self.candidates]}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> FinalChoice:
        """What `to_plain` gave."""
        return cls(**{**values, "candidates": tuple(Candidate(**one) for one in values["candidates"])})


def weights_name(checkpoint: Mapping[str, Any]) -> str | None:
    """What the weights of a checkpoint are; None: those of its epoch."""
    if IS_PROBE in checkpoint:
        return PROBE
    choice = checkpoint.get(FINAL_CHOICE)
    chosen = None if choice is None else str(choice["choice"]["chosen"])
    return None if chosen == f"epoch {checkpoint['epoch'] + 1}" else chosen
