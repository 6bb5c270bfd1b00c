"""The values that travel through the system, from an image file to a prediction.

Torch is imported for type checkers only: everything here is also used where a model is deployed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from torch import Tensor

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


class ClassificationBatch(TypedDict):
    """What a data loader yields and a model consumes.

    Attributes:
        images: float32 (B, 3, S, S), RGB, normalised.
        labels: int64 (B,), class indices in [0, K).
        indices: int64 (B,), the position of each image in its dataset.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


@dataclass(frozen=True, slots=True)
class Sample:
    """Where one labelled picture is.

    Attributes:
        path: The file.
        label: The name of its class. Always text.
    """

    path: str
    label: str


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an upright RGB picture becomes the model's input. Made once, used everywhere.

    The shorter side is resized to ``floor(image_size / crop_pct)``, the centre square of ``image_size`` is cut
    out, values are scaled to [0, 1] and normalised with ``mean`` and ``std``, the channel order is RGB.

    Attributes:
        image_size: Height and width S of the input, pixels.
        crop_pct: Share of the resized shorter side that the crop keeps, in (0, 1].
        interpolation: Filter of the resize.
        mean: Per channel, on the scale [0, 1].
        std: Per channel, on the scale [0, 1].
    """

    image_size: int = 224
    crop_pct: float = 0.875
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @property
    def resize_size(self) -> int:
        """Length of the shorter side after the resize, pixels."""
        return int(self.image_size / self.crop_pct)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and checkpoints; `from_dict` reads them back."""
        values = asdict(self)
        return {**values, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Reads what `to_dict` wrote; keys that this version does not know are ignored."""
        known = {field.name for field in fields(cls)}
        kept: dict[str, Any] = {}
        for key in known & values.keys():
            kept[key] = tuple(values[key]) if isinstance(values[key], list) else values[key]
        return cls(**kept)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one picture.

    Attributes:
        label: Name of the most probable class.
        probability: Its softmax probability, in [0, 1].
        index: Its class index.
        probabilities: One for each class, in class order.
        file: The picture's file; None for a picture that came as an array.
    """

    label: str
    probability: float
    index: int
    probabilities: tuple[float, ...]
    file: str | None = None
