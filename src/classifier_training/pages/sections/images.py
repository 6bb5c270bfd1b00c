"""The worst errors and the least certain images."""

from __future__ import annotations

from classifier_training.pages.inline_images import InlineImage, inline_image
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.section import Section, shown_scores_name
from classifier_training.pages.wording import count

KEY, TITLE = "pictures", "Example photos"
GALLERY = frozenset({"worst", "least_certain"})


def images_section(data: RunData) -> Section:
    """Images, with Grad-CAM heat maps where these are known."""
    passes = [scored for scored in (data.final, data.validation) if scored is not None]
    if not passes:
        return Section(KEY, TITLE, empty="Nothing has been scored yet.")
    is_training = data.status == "training"  # only then images of an older epoch than the scores are shown
    usable = [one for one in passes if one.examples_epoch is None or is_training]
    scored = next((one for one in usable if any(image.why & GALLERY for image in one.images)), None)
    if scored is None:
        later = "The photos are added when training is finished."
        return Section(KEY, TITLE, empty=later if is_training else "No photos were kept (report.num_pictures).")
    worst, unsure = _shown(scored, "worst"), _shown(scored, "least_certain")
    seen = {image.index for image in worst}
    values = {
        "worst": worst,
        "unsure": unsure,
        "repeated": {image.index for image in unsure if image.index in seen},
        "has_cams": any(image.cam for image in worst),
    }
    lead = _lead(worst, unsure)
    if scored.examples_epoch is not None and scored.epoch is not None:
        lead = (
            f"These photos are of epoch {scored.examples_epoch + 1}, the scores of epoch {scored.epoch + 1}: photos are"
            f" updated when there is time. {lead}"
        )
    if scored is not passes[0]:
        epoch = "" if scored.epoch is None else f" after epoch {scored.epoch + 1}"
        lead = f"These are {shown_scores_name(scored.split)}{epoch}; no photos of the final scores were kept. {lead}"
    return Section(KEY, TITLE, lead=lead, values=values)


def _shown(scored: ScoredData, why: str) -> list[InlineImage]:
    """Worst errors by falling loss, an infinite one first; least certain images by rising confidence."""
    chosen = [image for image in scored.images if why in image.why]
    if why == "worst":
        chosen.sort(key=lambda image: -(float("inf") if image.loss is None else image.loss))
    else:
        chosen.sort(key=lambda image: image.confidence)
    return [inline_image(image, scored.classes) for image in chosen]


def _lead(worst: list[InlineImage], unsure: list[InlineImage]) -> str:
    errors = [image for image in worst if not image.is_correct]
    if not errors:
        return f"None of the photos kept is misclassified; below: {count(len(unsure), 'photo')} with low confidence."
    return (
        f"The {count(len(errors), 'error')} with the highest loss, where the true class got the lowest probability."
        " Check for wrong labels first, then for what the photos have in common."
    )
