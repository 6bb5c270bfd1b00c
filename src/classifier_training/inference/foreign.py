"""What a person says of an ONNX file that does not say it itself: class names and preprocessing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import CheckpointError, UserError
from classifier_training.files.text import exists
from classifier_training.inference.card import DeploymentCard, check_classes, read_preprocessing

_PREPROCESSING: Final = "image_size, crop_pct, interpolation, mean and std"
_SUM_OF_PROBABILITIES: Final = 1e-3
"""How far the sum of probabilities that a file gives may be from 1."""


@dataclass(frozen=True, slots=True)
class Description:
    """What was said of a file.

    Attributes:
        classes: K class names, in the order of its outputs; None: nothing was said.
        preprocessing: How an image becomes its input, as `inference.card.read_preprocessing` takes it; None: nothing
            was said.
        source: Where the preprocessing is from, for messages.
    """

    classes: tuple[str, ...] | None
    preprocessing: Mapping[str, Any] | None
    source: str = "--preprocessing"


def read_description(
    labels: str | os.PathLike[str] | None, preprocessing: str | os.PathLike[str] | None
) -> Description | None:
    """Reads what ``--labels`` and ``--preprocessing`` name; None where nothing is named.

    Args:
        labels: A file of class names: text, one a line; JSON, a list of names, an object of indices by names or of
            names by indices, or a ``labels_mapping.json``.
        preprocessing: A JSON object, or a file of one: ``image_size``, ``crop_pct``, ``interpolation``, ``mean`` and
            ``std``; a ``labels_mapping.json``; or a ``config.json`` of timm.

    Raises:
        UserError: They cannot be used.
    """
    if labels is None and preprocessing is None:
        return None
    classes = None if labels is None else _read_classes(Path(labels))
    if preprocessing is None:
        return Description(classes, None)
    text = os.fspath(preprocessing)
    if text.lstrip().startswith("{"):
        source, values = "--preprocessing", _json(text, "--preprocessing")
    else:
        source = f"--preprocessing {text}"
        values = _json(_read(Path(text), source), source)
    if not isinstance(values, dict):
        raise UserError(f"{source} is not a JSON object with {_PREPROCESSING}, or a file of one")
    return Description(classes, _preprocessing_in(values), source)


def described_card(description: Description, own: DeploymentCard | None, path: Path, side: object) -> DeploymentCard:
    """The card of a file that a person has described.

    Args:
        description: What was said.
        own: The card of the file itself; None: it has none.
        path: The file.
        side: Of its input, pixels; something else than a number where it is free.

    Raises:
        UserError: The file describes itself, or not enough was said.
    """
    if own is not None:
        raise UserError(f"{path} has class names and preprocessing of its own; leave --labels and --preprocessing out")
    if description.classes is None or description.preprocessing is None:
        missing = "--labels FILE" if description.classes is None else "--preprocessing JSON"
        raise UserError(f"{path} says nothing of its classes and preprocessing; give {missing}, too")
    values = dict(description.preprocessing)
    if "image_size" not in values and isinstance(side, int):
        values["image_size"] = side
    return DeploymentCard(description.classes, read_preprocessing(values, description.source))


def as_logits(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The outputs of a foreign file, float32 (N, K), as logits: the logarithm where they are probabilities."""
    are_probabilities = (values >= 0).all() and (np.abs(values.sum(axis=1) - 1) < _SUM_OF_PROBABILITIES).all()
    if not are_probabilities:
        return values
    smallest = np.finfo(np.float32).tiny
    return cast("NDArray[np.float32]", np.log(np.maximum(values, smallest)))


def _read_classes(path: Path) -> tuple[str, ...]:
    source = f"--labels {path}"
    text = _read(path, source)
    if path.suffix != ".json":
        names: Sequence[Any] = [line.strip() for line in text.splitlines()]
        while names and not names[-1]:
            names = names[:-1]
    else:
        names = _names_in(_json(text, source), source)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"{source} must have the name of a class on every line, or be a JSON list of names")
    check_classes(names, source)
    return tuple(names)


def _names_in(values: Any, source: str) -> Sequence[Any]:
    """Class names in order, of a JSON value; empty where it is none."""
    if isinstance(values, list):
        return values
    if not isinstance(values, dict):
        return []
    by_name = values.get("class_to_idx", values)
    if isinstance(by_name, dict) and all(isinstance(name, str) for name in by_name.values()):
        try:
            by_name = {name: int(index) for index, name in by_name.items()}
        except ValueError:
            return []
    if not isinstance(by_name, dict) or sorted(map(str, by_name.values())) != sorted(map(str, range(len(by_name)))):
        raise UserError(f"{source} must number the classes from 0 without gaps")
    return sorted(by_name, key=lambda name: int(by_name[name]))


def _preprocessing_in(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The preprocessing in a JSON object, which may be that of another program."""
    if isinstance(values.get("preprocessing"), dict):
        return cast("Mapping[str, Any]", values["preprocessing"])
    found = values.get("pretrained_cfg", values)
    if not isinstance(found, dict):
        return values
    size = found.get("input_size")
    if "image_size" not in found and isinstance(size, list) and len(size) == 3 and size[1] == size[2]:
        found = {**found, "image_size": size[1]}  # timm's name
    return found


def _json(text: str, source: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} is not JSON: {error}") from None


def _read(path: Path, source: str) -> str:
    if not exists(path):
        raise UserError(f"{source}: there is no such file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise UserError(f"{source} cannot be read: {reason}") from None


def no_card(path: Path, name: str) -> CheckpointError:
    """The error of a file that says nothing and of which nothing was said; ``name``: the file that may be beside it."""
    return CheckpointError(
        f"{path} has no class names: there is no class_names in its metadata, and no {name} in its folder; for a file"
        f" of another program give --labels FILE and --preprocessing JSON ({_PREPROCESSING}) to predict or evaluate, or"
        f" put {name} with class_to_idx and preprocessing beside the file"
    )
