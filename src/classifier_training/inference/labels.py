"""``labels_mapping.json``: class names and preprocessing next to an exported model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classifier_training.errors import CheckpointError
from classifier_training.inference.card import DeploymentCard, read_preprocessing
from classifier_training.types import Preprocessing


def labels_mapping(classes: Sequence[str], preprocessing: Preprocessing) -> dict[str, Any]:
    """The content of ``labels_mapping.json``.

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


def read_labels_mapping(path: Path) -> DeploymentCard:
    """Reads ``labels_mapping.json``.

    Raises:
        CheckpointError: The file is missing, is not JSON, or contradicts itself.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a JSON file: {error}") from None
    if not isinstance(values, dict) or not isinstance(values.get("class_to_idx"), dict):
        raise CheckpointError(f"{path} is not a labels mapping: it has no class_to_idx")
    class_to_idx = values["class_to_idx"]
    indices = list(class_to_idx.values())
    if not indices or not all(type(index) is int for index in indices) or sorted(indices) != list(range(len(indices))):
        raise CheckpointError(f"{path}: class_to_idx must number the classes from 0 without gaps; got {indices!r:.80}")
    classes = tuple(sorted(class_to_idx, key=class_to_idx.__getitem__))
    return DeploymentCard(classes, read_preprocessing(values.get("preprocessing"), str(path)))
