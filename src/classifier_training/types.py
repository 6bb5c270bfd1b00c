"""The values that travel through the system, from an image file to a prediction.

Torch is imported for type checkers only: everything here is also used where a model is deployed.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NotRequired, TypedDict

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["train", "val", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
OnBadImage = Literal["raise", "skip"]
"""What to do about a file that is not an image: stop, or leave it out."""
OnBadFile = Literal["row", "skip", "stop", "raise"]
"""What `predict` does about a file that is not an image: write a row with its error, leave it out, or stop; ``raise``
is the older name of ``stop``."""
RowsFormat = Literal["csv", "jsonl", "parquet"]
"""A format of predictions."""
OnGroupOverlap = Literal["raise", "warn"]
"""What to do about a group that the source has put into two splits: stop, or only say so."""
Progress = Callable[[int, int], None]
"""Called with the number of items done and the number of all items."""
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
TestTimeAugmentation = Literal["none", "flip", "five"]
"""Which views of an image are scored: the centre; also its mirror image; the centre and the four corners."""
NUM_VIEWS: Final[Mapping[TestTimeAugmentation, int]] = {"none": 1, "flip": 2, "five": 5}
"""Views by test-time augmentation: how often the model runs for an image."""
Exporter = Literal["torchscript", "dynamo"]
"""PyTorch's exporters to ONNX."""
OPSET_VERSIONS: Final[Mapping[Exporter, range]] = {"torchscript": range(13, 21), "dynamo": range(18, 24)}
"""The operator sets that each exporter writes; asked for an older one, dynamo silently writes 18."""


class Mix(NamedTuple):
    """How the images of a batch are mixed with each other: numbers of the host, so that no device is waited for.

    Attributes:
        share: What each image keeps of itself, in [0, 1]; the rest is its partner's.
        shift: The partner of image i is image i - shift of the batch.
        box: Top, left, bottom, right of what the partner's pixels replace; None: the two are blended.
        num_classes: K.
    """

    share: float
    shift: int
    box: tuple[int, int, int, int] | None
    num_classes: int


class ClassificationBatch(TypedDict):
    """What a data loader yields and a model consumes.

    Attributes:
        images: (B, 3, S, S), RGB; float32 and normalised where a model gets them, uint8 on their way there.
        labels: int64 (B,), class indices in [0, K); of mixed images float32 (B, K), the share of each class.
        indices: int64 (B,), the position of each image in its dataset.
        colour_maps: float32 (B, 3, 4), of uint8 training images whose colours are jittered: what makes the model's
            input of their RGB values and 1, normalisation included. Missing where images are only normalised.
        erased: int64 (B, 4), of training images on their way: top, left, bottom, right of what is erased, all 0 for
            nothing. Missing where nothing is erased.
        mix: How a training batch on its way is to be mixed. Missing where it is not.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    colour_maps: NotRequired[Tensor]
    erased: NotRequired[Tensor]
    mix: NotRequired[Mix]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """Where the bytes of one image are: a whole file, or a part of one.

    Attributes:
        path: A local file.
        offset: Where the image begins in it, bytes.
        size: Its length, bytes; None: to the end of the file.
        member: Its name in a file that holds many.
        stamp: What `file_stamp` gave when the image was checked; None: it may have changed since.
    """

    path: str
    offset: int = 0
    size: int | None = None
    member: str = ""
    stamp: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """The path for messages, with the member after ``::``."""
        return f"{self.path}::{self.member}" if self.member else self.path

    def is_unchanged(self) -> bool:
        """Whether the file is still the one that was checked, as far as that is known."""
        if self.stamp is None:
            return True
        try:
            return file_stamp(os.stat(self.path)) == self.stamp  # noqa: PTH116 - as in `read`
        except (OSError, ValueError):
            return False

    def read(self) -> bytes:
        """The bytes of the image.

        Raises:
            OSError: The file is missing, ends before the image does, or has changed since it was checked.
        """
        refuse_special(self.path)
        with open(self.path, "rb") as file:  # noqa: PTH123 - a Path for each of a million files takes seconds
            if self.stamp is not None and file_stamp(os.fstat(file.fileno())) != self.stamp:
                raise OSError("the file has changed since it was checked; start again")
            file.seek(self.offset)
            content = file.read(-1 if self.size is None else self.size)
        if self.size is not None and len(content) < self.size:
            raise OSError(f"the file ends {self.size - len(content)} bytes before the image does")
        return content


def refuse_special(path: str | os.PathLike[str]) -> None:
    """Refuses what is not a plain file, without opening it; a missing file and a folder are left to the opener.

    Raises:
        OSError: It is a FIFO, a device or a socket.
    """
    mode = os.stat(path).st_mode  # noqa: PTH116 - a Path for each of a million files takes seconds
    kinds = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    if stat.S_IFMT(mode) in kinds:
        raise OSError(f"it is a {kinds[stat.S_IFMT(mode)]} and not a plain file")


def file_stamp(status: os.stat_result) -> int:
    """32 bits that differ when a file's size or time of change does."""
    return zlib.crc32(f"{status.st_size}:{status.st_mtime_ns}".encode())


def identity_stamp(status: os.stat_result) -> int:
    """32 bits that differ when a file has been replaced or written, though its size and time of change were kept.

    Access rights and links change them, too; so where only these differ, the content has to be looked at.
    """
    return zlib.crc32(f"{status.st_ctime_ns}:{status.st_ino}".encode())


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image.

    Attributes:
        image: Where its bytes are.
        label: The name of its class. Always text.
    """

    image: ImageRecord
    label: str

    @property
    def path(self) -> str:
        """The path of the image for messages."""
        return str(self.image)


@dataclass(frozen=True, slots=True)
class Decoding:
    """What the pixels of an image depend on besides its file.

    Attributes:
        max_pixels: An image with more is refused; None: as Pillow does.
        background: RGB, in [0, 255] each, that transparent pixels are composed on; None: transparency is dropped, and
            the colour under it is kept.
        integer_range: The values that become black and white in grey images of more than 8 bits; None: the range of
            their number of bits.
    """

    max_pixels: int | None = None
    background: tuple[int, int, int] | None = None
    integer_range: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an upright RGB image becomes the model's input. Made once, used everywhere.

    The shorter side is resized to ``floor(image_size / crop_pct)``, the centre square of ``image_size`` is cut
    out, values are scaled to [0, 1] and normalised with ``mean`` and ``std``, the channel order is RGB.

    Attributes:
        image_size: Height and width S of the input, pixels.
        crop_pct: Share of the resized shorter side that the crop keeps, in (0, 1].
        interpolation: Filter of the resize.
        mean: Per channel, on the scale [0, 1].
        std: Per channel, on the scale [0, 1].
        max_image_pixels: As `Decoding.max_pixels`.
        background: As of `Decoding`.
        integer_range: As of `Decoding`.
    """

    image_size: int = 224
    crop_pct: float = 0.875
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    max_image_pixels: int | None = None
    background: tuple[int, int, int] | None = None
    integer_range: tuple[float, float] | None = None

    @property
    def decoding(self) -> Decoding:
        """How an image's file becomes the upright RGB image."""
        return Decoding(self.max_image_pixels, self.background, self.integer_range)

    def decoded_as(self, decoding: Decoding) -> Preprocessing:
        """The same preprocessing of images that are decoded in another way."""
        return replace(
            self,
            max_image_pixels=decoding.max_pixels,
            background=decoding.background,
            integer_range=decoding.integer_range,
        )

    @property
    def resize_size(self) -> int:
        """Length of the shorter side after the resize, pixels."""
        return int(self.image_size / self.crop_pct)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and checkpoints; `from_dict` reads them back."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Reads what `to_dict` wrote; unknown keys are ignored."""
        known = {field.name for field in fields(cls)}
        kept: dict[str, Any] = {}
        for key in known & values.keys():
            kept[key] = tuple(values[key]) if isinstance(values[key], list) else values[key]
        return cls(**kept)


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model predicts for one image.

    Attributes:
        label: Name of the most probable class.
        probability: Its softmax probability, in [0, 1].
        index: Its class index.
        probabilities: One for each class, in class order.
        file: The image's file; None for an image that came as an array.
    """

    label: str
    probability: float
    index: int
    probabilities: tuple[float, ...]
    file: str | None = None
