"""``teacher.json``: the scores of the teacher of a distillation, which its student is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from classifier_training.run.records import FORMAT, Count, Format, Number, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherScores:
    """Scores on the validation images of the student, in float32 and in the teacher's own preprocessing.

    Attributes:
        top1: Share that the teacher predicts correctly.
        log_loss: Mean over the images.
        num_images: Validation images.
    """

    top1: Share
    log_loss: Number
    num_images: Count
    format: Format = FORMAT
