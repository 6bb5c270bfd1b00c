"""The images of a split of a run, as they are scored at its end."""

from __future__ import annotations

from classifier_training.data.sources.detect import shown_root
from classifier_training.results.scored_pass import LabelledImages
from classifier_training.training.plan import Plan
from classifier_training.types import Split


def split_images(plan: Plan, split: Split) -> LabelledImages:
    """The images of a split of the run."""
    photos = plan.photos
    records = photos.records(split)
    return LabelledImages(
        files=[str(record) for record in records],
        labels=photos.labels(split),
        classes=photos.classes,
        description=f"the {split} split of {shown_root(photos.root)}",
        split=split,
        records=records,
        digests=tuple(digest.tobytes().hex() for digest in photos.digests(split)),
        left_out=tuple(image.path for image in photos.bad),
    )
