"""``export/verification.json``: the comparison of the exported file with the trained model."""

from __future__ import annotations

from dataclasses import dataclass

from classifier_training.run.records import Count, Items, Number, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeTrial:
    """One way of quantising a model that was tried.

    Attributes:
        scheme: Its name.
        verdict: What became of it.
        error: Why onnxruntime cannot make or run such a file, and None for all that follows; None: it can.
        speedups: How many times as fast as float32 it is, by the number of images of a batch.
        bytes: The size of the file.
        top1_agreement: Share of the images for which it predicts the class of the model.
        top1: Its accuracy.
        p_value: Of McNemar's exact test against the model.
    """

    scheme: str
    verdict: str
    error: str | None = None
    speedups: dict[str, Number] | None = None
    bytes: Count | None = None
    top1_agreement: Share | None = None
    top1: Share | None = None
    p_value: Share | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What readers of the file need of it; a form of export may add figures of its own.

    Attributes:
        passed: Whether the file gives the same predictions as the model.
        reason: Why it failed or could not be exported; None where it passed.
        epoch: After which epoch the weights were saved, from 0; None where that is not known.
        weights_hash: Of all weights in it; None in the records of earlier versions.
        num_images: Number of images that were compared; 0 where the export failed before.
        tolerance: Largest difference of a logit that is allowed.
        top1_agreement: Share of the images for which both predict the same class.
        max_abs_logit_difference: The largest difference of a logit; None where it is not finite.
        sha256: Of the file that was compared; None where it is not known.
        abstain_threshold: The lowest confidence that the file answers; None: it never abstains, or that is not known.
        set_threshold: The lowest probability of a class in its prediction sets; None as before.
        form: Of the file; None in the records of version 0.1.
        top1: The accuracy of the file on the images; None where it was not measured.
        top1_of_model: That of the trained model.
        p_value: Of McNemar's exact test between the two.
        schemes: The ways that were tried of quantising it.
        cpu: What they were timed on.
        float_bytes: The size of the file before it was quantised.
    """

    passed: bool
    reason: str | None = None
    epoch: Count | None = None
    weights_hash: str | None = None
    num_images: Count = 0
    tolerance: Number | None = None
    top1_agreement: Share | None = None
    max_abs_logit_difference: Number | None = None
    sha256: str | None = None
    abstain_threshold: Share | None = None
    set_threshold: Share | None = None
    form: str | None = None
    top1: Share | None = None
    top1_of_model: Share | None = None
    p_value: Share | None = None
    schemes: Items[SchemeTrial] = ()
    cpu: str | None = None
    float_bytes: Count | None = None
