"""Class names and preprocessing as they travel with an exported model: in its metadata and beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from classifier_training.errors import CheckpointError
from classifier_training.types import Interpolation, Preprocessing

LABELS_MAPPING = "labels_mapping.json"


@dataclass(frozen=True, slots=True)
class Labels:
    """What a bare network does not know of itself.

    Attributes:
        classes: K class names, in the order of the logits. Always text.
        preprocessing: How an image becomes the input.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing


def labels_mapping(classes: Sequence[str], preprocessing: Preprocessing) -> dict[str, Any]:
    """What ``labels_mapping.json`` holds.

    Args:
        classes: K class names, in the order of the logits.
        preprocessing: How an image becomes the input.

    Returns:
        ``num_classes``, ``class_to_idx``, ``idx_to_class`` (its keys are text, as JSON demands), ``normalization``
        with ``mean`` and ``std``, and the whole ``preprocessing``.
    """
    return {
        "num_classes": len(classes),
        "class_to_idx": {name: index for index, name in enumerate(classes)},
        "idx_to_class": {str(index): name for index, name in enumerate(classes)},
        "normalization": {"mean": list(preprocessing.mean), "std": list(preprocessing.std)},
        "preprocessing": preprocessing.to_dict(),
    }


def read_labels_mapping(path: Path) -> Labels:
    """Reads ``labels_mapping.json``.

    Raises:
        CheckpointError: The file is missing, no JSON, or contradicts itself.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not a JSON file: {error}") from None
    if not isinstance(values, dict) or not isinstance(values.get("class_to_idx"), dict):
        raise CheckpointError(f"{path} is no labels mapping: it has no class_to_idx")
    class_to_idx = values["class_to_idx"]
    indices = list(class_to_idx.values())
    if not indices or not all(type(index) is int for index in indices) or sorted(indices) != list(range(len(indices))):
        raise CheckpointError(f"{path}: class_to_idx must number the classes from 0 without gaps; got {indices!r:.80}")
    classes = tuple(sorted(class_to_idx, key=class_to_idx.__getitem__))
    return Labels(classes, _preprocessing(values.get("preprocessing"), str(path)))


def labels_metadata(labels: Labels) -> dict[str, str]:
    """The entries of an exported file's metadata that `labels_from_metadata` reads; every value is JSON."""
    return {
        "class_names": json.dumps(list(labels.classes), ensure_ascii=False),
        "preprocessing": json.dumps(labels.preprocessing.to_dict()),
    }


def labels_from_metadata(metadata: Mapping[str, str], source: str) -> Labels | None:
    """Reads what `labels_metadata` wrote.

    Args:
        metadata: All entries of the file.
        source: What an error message calls the file.

    Returns:
        None if the file says nothing of its classes.

    Raises:
        CheckpointError: The entries are there and make no sense.
    """
    if "class_names" not in metadata:
        return None
    try:
        classes = json.loads(metadata["class_names"])
        preprocessing = json.loads(metadata.get("preprocessing", "null"))
    except ValueError as error:
        raise CheckpointError(f"{source}: the metadata is not JSON: {error}") from None
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise CheckpointError(f"{source}: class_names in the metadata must be a list of texts, not {classes!r:.80}")
    return Labels(tuple(classes), _preprocessing(preprocessing, source))


def _preprocessing(values: object, source: str) -> Preprocessing:
    if not isinstance(values, dict):
        raise CheckpointError(f"{source} does not say how images are prepared: it has no preprocessing")
    fault = _first_fault(values)
    if fault is not None:
        raise CheckpointError(f"{source}: preprocessing.{fault} is {values.get(fault)!r}, which cannot be")
    return Preprocessing.from_dict(values)


def _first_fault(values: Mapping[str, Any]) -> str | None:
    """The first field whose value is absent or impossible; a default would silently give wrong predictions."""
    image_size, crop_pct = values.get("image_size"), values.get("crop_pct")
    std = values.get("std")
    is_valid = {
        "image_size": isinstance(image_size, int) and not isinstance(image_size, bool) and image_size > 0,
        "crop_pct": _is_number(crop_pct) and 0 < float(str(crop_pct)) <= 1,
        "interpolation": values.get("interpolation") in get_args(Interpolation),
        "mean": _is_triple(values.get("mean")),
        "std": _is_triple(std) and all(value > 0 for value in std or ()),
    }
    return next((name for name, valid in is_valid.items() if not valid), None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_triple(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))
