"""``export/verification.json``: the comparison of the exported file with the trained model."""

from __future__ import annotations

from dataclasses import dataclass

from classifier_training.run.records import Count, Number, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What readers of the file need of it; a form of export may add figures of its own.

    Attributes:
        passed: Whether the file gives the same predictions as the model.
        reason: Why it failed or could not be exported; None where it passed.
        epoch: After which epoch the weights were saved, from 0; None where that is not known.
        num_images: Number of images that were compared; 0 where the export failed before.
        tolerance: Largest difference of a logit that is allowed.
        top1_agreement: Share of the images for which both predict the same class.
        max_abs_logit_difference: The largest difference of a logit; None where it is not finite.
        sha256: Of the file that was compared; None where it is not known.
        abstain_threshold: The lowest confidence that the file answers; None: it never abstains, or that is not known.
        set_threshold: The lowest probability of a class in its prediction sets; None as before.
    """

    passed: bool
    reason: str | None = None
    epoch: Count | None = None
    num_images: Count = 0
    tolerance: Number | None = None
    top1_agreement: Share | None = None
    max_abs_logit_difference: Number | None = None
    sha256: str | None = None
    abstain_threshold: Share | None = None
    set_threshold: Share | None = None
