"""The worst errors and the least certain pictures."""

from __future__ import annotations

from classifier_training.pages.embedding import ShownPicture, shown_picture
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.sections.section import Section, shown_scores_name
from classifier_training.pages.wording import count

KEY, TITLE = "pictures", "Worst errors"
GALLERY = frozenset({"worst", "least_certain"})


def pictures_section(data: RunData) -> Section:
    """Pictures, with what the model looked at where that is known."""
    passes = [scored for scored in (data.final, data.validation) if scored is not None]
    if not passes:
        return Section(KEY, TITLE, empty="Nothing has been scored yet.")
    scored = next((one for one in passes if _has_pictures(one, data)), None)
    if scored is None:
        return Section(KEY, TITLE, empty=_reason(data))
    worst, unsure = _shown(scored, "worst"), _shown(scored, "least_certain")
    seen = {picture.index for picture in worst}
    values = {
        "worst": worst,
        "unsure": unsure,
        "repeated": {picture.index for picture in unsure if picture.index in seen},
        "has_cams": any(picture.cam for picture in worst),
    }
    lead = _lead(worst, unsure)
    if scored.pictures_epoch is not None and scored.epoch is not None:
        lead = (
            f"These were chosen after epoch {scored.pictures_epoch + 1}, the scores are of epoch {scored.epoch + 1}:"
            f" pictures wait for time to draw them. {lead}"
        )
    if scored is not passes[0]:
        epoch = "" if scored.epoch is None else f" after epoch {scored.epoch + 1}"
        lead = f"These are {shown_scores_name(scored.split)}{epoch}; of the final pass no pictures were kept. {lead}"
    return Section(KEY, TITLE, lead=lead, values=values)


def _has_pictures(scored: ScoredData, data: RunData) -> bool:
    """Older pictures than the scores are shown of a run that goes on, and not of one that is finished."""
    is_shown = scored.pictures_epoch is None or data.status == "training"
    return is_shown and any(picture.why & GALLERY for picture in scored.pictures)


def _reason(data: RunData) -> str:
    if data.status == "training":
        return "The pictures follow when training is finished."
    return "No pictures were kept of this pass (report.num_pictures)."


def _shown(scored: ScoredData, why: str) -> list[ShownPicture]:
    """Worst: by falling loss, an infinite one first; least certain: by rising confidence."""
    chosen = [picture for picture in scored.pictures if why in picture.why]
    if why == "worst":
        chosen.sort(key=lambda picture: -(float("inf") if picture.loss is None else picture.loss))
    else:
        chosen.sort(key=lambda picture: picture.confidence)
    return [shown_picture(picture, scored.classes) for picture in chosen]


def _lead(worst: list[ShownPicture], unsure: list[ShownPicture]) -> str:
    errors = [picture for picture in worst if not picture.is_right]
    if not errors:
        return f"No error is among the photos kept; below are the {count(len(unsure), 'photo')} it was least sure of."
    return (
        f"The {count(len(errors), 'error')} with the highest loss, where the true class got the least probability. Look"
        " for wrong labels first, then for what the photos have in common."
    )
