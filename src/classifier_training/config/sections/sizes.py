"""Settings of the sizes of training images over the epochs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from classifier_training.config.section import Fraction, NonNegativeInt, PositiveInt, Section


class SizesConfig(Section):
    """When images are of another size than ``image_size``; a part of the section ``data``."""

    test_image_size: PositiveInt | None = Field(
        None,
        description="input side of validation, test and the deployed model, where training is on images of another"
        " size; null: image_size",
    )
    final_epochs_at_test_size: NonNegativeInt = Field(
        0, description="last epochs on images of test_image_size, cropped as for the test and not mixed (FixRes)"
    )
    progressive_size: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None, description="share of image_size that training images begin with and grow from; null: always image_size"
    )
    progressive_until: Fraction = Field(
        0.75, description="share of the epochs in which images grow by progressive_size; the others have image_size"
    )

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Epochs at a size that is not given."""
        yield from super()._conflicts()
        if self.final_epochs_at_test_size and self.test_image_size is None:
            reason = "epochs at the test size need that size; give test_image_size"
            yield ("final_epochs_at_test_size", "test_image_size"), reason
