"""The deployment card: what travels inside an exported file, so that the file alone is enough to predict."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast, get_args

from classifier_training.errors import CheckpointError
from classifier_training.inference.decision import DECISION, Decision
from classifier_training.inference.unknown import UNKNOWN, UnknownCard
from classifier_training.types import Interpolation, Preprocessing

CARD_VERSION: Final = (1, 1)
"""Major and minor. A minor version adds entries that a program may ignore; all else is a new major version."""
_LARGEST_TEMPERATURE: Final = 1e30
"""Beyond this, or below its reciprocal, a float32 of the logits divided by it is no number, or 0."""
MAX_SIDE: Final = 8192
"""The longest side, pixels, that a file may ask for; what is beyond is a mistake, or an attack on the memory."""
_ALLOWED: Final = {
    "image_size": f"a whole number from 1 to {MAX_SIDE}",
    "crop_pct": "a number above 0 and at most 1",
    "interpolation": ", ".join(get_args(Interpolation)),
    "mean": "three numbers",
    "std": "three positive numbers",
    "max_image_pixels": "a positive whole number, or null",
    "background": "three whole numbers from 0 to 255, or null",
    "integer_range": "two numbers, the lower one first, or null",
}
_logger = logging.getLogger(__name__)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class DeploymentCard:
    """What a bare network does not hold. None: the file does not have it.

    Attributes:
        classes: K class names, in the order of the logits. Always text.
        preprocessing: How an image becomes the input.
        temperature: `OnnxClassifier` divides the logits by it.
        self_test: Pictures and the answers to them; see `inference.self_test`.
        decision: From which probability on the model answers, and which classes a prediction set holds.
        validation: What the model answers on the validation split: ``predicted`` has the number of images by class,
            ``abstained`` is the number of those of ``num_images`` on which it abstains.
        unknown: What is known of the output ``unknown_score``.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float | None = None
    self_test: Mapping[str, Any] | None = None
    decision: Decision | None = None
    validation: Mapping[str, Any] | None = None
    unknown: UnknownCard | None = None

    def to_metadata(self) -> dict[str, str]:
        """The entries of an exported file's metadata that `from_metadata` reads; every value is JSON."""
        values = {
            "class_names": list(self.classes),
            "preprocessing": self.preprocessing.to_dict(),
            **{name: getattr(self, name) for name in _OPTIONAL},
            DECISION: None if self.decision is None else self.decision.to_dict(),
            UNKNOWN: None if self.unknown is None else self.unknown.to_dict(),
            "card_version": ".".join(map(str, CARD_VERSION)),
        }
        return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items() if value is not None}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], source: str) -> DeploymentCard | None:
        """Reads what `to_metadata` wrote, and files of version 0.1, which have no ``card_version``.

        Args:
            metadata: All entries of the file; those that are not of the card are ignored.
            source: The name of the file in error messages.

        Returns:
            None if the metadata has no classes.

        Raises:
            CheckpointError: A value is impossible, or the card is of a newer major version.
        """
        if "class_names" not in metadata:
            return None
        version = _read_json(metadata, "card_version", source)
        _check_version(version, source)
        classes = _read_json(metadata, "class_names", source)
        if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
            raise CheckpointError(f"{source}: class_names in the metadata must be a list of texts, not {classes!r:.80}")
        check_classes(classes, f"{source}: class_names in the metadata")
        names = () if version is None else _OPTIONAL  # in a file of version 0.1 they would be its owner's own
        optional = {name: _read_json(metadata, name, source) for name in names}
        for name, value in optional.items():
            if value is not None and not _OPTIONAL[name](value):
                raise CheckpointError(f"{source}: {name} in the metadata is {value!r:.80}, which is not possible")
        preprocessing = read_preprocessing(_read_json(metadata, "preprocessing", source), source)
        decision = _read_object(metadata, DECISION, Decision.from_dict, version, source)
        unknown = _read_object(metadata, UNKNOWN, UnknownCard.from_dict, version, source)
        return cls(tuple(classes), preprocessing, **optional, decision=decision, unknown=unknown)


def check_classes(classes: Sequence[str], source: str) -> None:
    """Refuses a name that two classes have.

    Raises:
        CheckpointError: There is one.
    """
    twice = next((name for name, count in Counter(classes).items() if count > 1), None)
    if twice is not None:
        raise CheckpointError(
            f"{source} names the class {twice!r} twice, so a prediction of it could mean two things; export the model"
            " again with names that differ"
        )


def read_preprocessing(values: object, source: str) -> Preprocessing:
    """Reads what `Preprocessing.to_dict` wrote.

    Raises:
        CheckpointError: A value is missing or impossible: a default would silently give wrong predictions.
    """
    if not isinstance(values, dict):
        raise CheckpointError(f"{source} does not describe how images are prepared: it has no preprocessing")
    is_valid: dict[str, Callable[[Any], bool]] = {
        "image_size": lambda value: _is_whole(value) and 0 < value <= MAX_SIDE,
        "crop_pct": lambda value: _is_number(value) and 1 / MAX_SIDE <= value <= 1,
        "interpolation": lambda value: value in get_args(Interpolation),
        "mean": _is_triple,
        "std": lambda value: _is_triple(value) and all(number > 0 for number in value),
        "max_image_pixels": lambda value: value is None or (_is_whole(value) and value > 0),
        "background": lambda value: (
            value is None or (_is_triple(value) and all(_is_whole(one) and 0 <= one <= 255 for one in value))
        ),
        "integer_range": lambda value: value is None or (_is_pair(value) and value[0] < value[1]),
    }
    for name, check in is_valid.items():
        if not check(values.get(name)):
            raise CheckpointError(
                f"{source}: preprocessing.{name} is {values.get(name)!r:.80}, which is not possible; allowed:"
                f" {_ALLOWED[name]}"
            )
    preprocessing = Preprocessing.from_dict(values)
    if preprocessing.resize_size > MAX_SIDE:
        raise CheckpointError(
            f"{source}: preprocessing resizes the shorter side of an image to {preprocessing.resize_size} pixels"
            f" (image_size {preprocessing.image_size}, crop_pct {preprocessing.crop_pct:g}), which is not possible: at"
            f" most {MAX_SIDE} are allowed"
        )
    return preprocessing


def _read_json(metadata: Mapping[str, str], name: str, source: str) -> Any:
    try:
        return json.loads(metadata.get(name, "null"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source}: {name} in the metadata is not JSON: {error}") from None


def _read_object(
    metadata: Mapping[str, str], name: str, read: Callable[[object], Item], version: object, source: str
) -> Item | None:
    """An entry that is more than a value; a file of version 0.1 has none."""
    values = None if version is None else _read_json(metadata, name, source)
    if values is None:
        return None
    try:
        return read(values)
    except ValueError as error:
        raise CheckpointError(f"{source}: {name} in the metadata is not possible: {error}") from None


def _check_version(version: object, source: str) -> None:
    """Refuses a card that this program could misread; None is that of version 0.1."""
    if version is None:
        return
    parts = version.split(".") if isinstance(version, str) else []
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise CheckpointError(f"{source}: card_version in the metadata must be a text such as 1.0, not {version!r:.80}")
    major, minor = int(parts[0]), int(parts[1])
    if major > CARD_VERSION[0]:
        raise CheckpointError(
            f"{source} has a deployment card of version {version}, and this program reads up to {CARD_VERSION[0]}.x:"
            " update classifier-training, or export the model again with this version"
        )
    if (major, minor) > CARD_VERSION:
        _logger.warning("%s has a deployment card of version %s; its new entries are ignored", source, version)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    """Whether it is a number that a float can hold: JSON has longer ones, and Python reads NaN."""
    return _is_number(value) and abs(cast("float", value)) <= sys.float_info.max


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_finite, value))


def _is_triple(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_finite, value))


def _are_counts(value: Any) -> bool:
    return _is_object(value) and all(_is_whole(one) and one >= 0 for one in value.values())


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


_OPTIONAL: Final[Mapping[str, Callable[[Any], bool]]] = {
    "temperature": lambda value: _is_finite(value) and 1 / _LARGEST_TEMPERATURE <= value <= _LARGEST_TEMPERATURE,
    "self_test": _is_object,
    "validation": lambda value: (
        _is_object(value)
        and _are_counts(value.get("predicted", {}))
        and _are_counts({name: value.get(name, 0) for name in ("abstained", "num_images")})
    ),
}
"""The entries that a file need not have, with the check of their values."""
