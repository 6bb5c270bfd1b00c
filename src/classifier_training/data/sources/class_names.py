"""Class names in a file next to the images, for labels that are indices."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from classifier_training.data.sources.address import is_remote
from classifier_training.data.sources.remote import fetch
from classifier_training.data.sources.split_files import entries, name_of
from classifier_training.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

NAMES_FILES: Final = ("classes.json", "classes.txt", "classnames.txt", "labels_mapping.json")
_INDEX: Final = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class ClassNames:
    """Class names by index.

    Attributes:
        path: The file that they stand in, or its copy.
        names: The names.
    """

    path: Path
    names: tuple[str, ...]


def find_class_names(folder: str, cache: Path) -> ClassNames | None:
    """The class names in a folder, local or remote: the first of `NAMES_FILES` that exists, or None.

    Raises:
        DataError: The file cannot be read, or names a class twice.
    """
    files = {name_of(file): file for file in entries(folder)[0]}
    file = next((files[name] for name in NAMES_FILES if name in files), None)
    if file is None:
        return None
    path = fetch(file, cache, revalidate=True) if is_remote(file) else Path(file)
    names = _read(path)
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in first:
            raise DataError(
                f"{path} names two classes {name!r}, the indices {first[name]} and {index}; make them differ"
            )
        first[name] = index
    return ClassNames(path, tuple(names))


def with_class_names(table: pa.Table, names: ClassNames) -> tuple[pa.Table, list[str]]:
    """A listing's rows with class names in place of indices, and warnings.

    Labels that are names already stay as they are, also where the names are numbers.

    Raises:
        DataError: A label is an index that the file has no name for.
    """
    import pyarrow as pa

    column = table.column("label").combine_chunks()
    labels: list[str] = column.dictionary.to_pylist()
    if set(labels) <= set(names.names):
        return table, []
    if not all(map(_INDEX.fullmatch, labels)):
        return table, [f"{names.path} is not used: the labels are text and not indices"]
    for code, label in enumerate(labels):
        if int(label) >= len(names.names):
            raise _without_name(table, code, label, names)
    named = pa.array([names.names[int(label)] for label in labels], pa.string())
    renamed = pa.DictionaryArray.from_arrays(column.indices, named)
    return table.set_column(table.schema.get_field_index("label"), table.schema.field("label"), renamed), []


def _without_name(table: pa.Table, code: int, label: str, names: ClassNames) -> DataError:
    import pyarrow.compute as pc

    row = pc.index(table.column("label").combine_chunks().indices, code).as_py()
    image = table.slice(row, 1).to_pylist()[0]
    return DataError(
        f"{image['place']}::{image['name']} has the label {label}, and {names.path} has names for 0 to"
        f" {len(names.names) - 1} only"
    )


def _read(path: Path) -> Sequence[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix != ".json":
            return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
        names = _names_in(json.loads(text))
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise DataError(f"{path} is not JSON") from None
    if names is None:
        raise DataError(f"{path} holds no class names; expected a list of names, or a mapping of indices and names")
    return names


def _names_in(values: Any) -> list[str] | None:
    """The names in a list, in ``{"0": "cat"}``, in ``{"cat": 0}`` or in a ``labels_mapping.json``."""
    if isinstance(values, dict):
        values = values.get("class_to_idx", values)
    if isinstance(values, dict):
        if all(isinstance(index, int) for index in values.values()):
            values = {str(index): name for name, index in values.items()}
        values = [values.get(str(index)) for index in range(len(values))]
    if isinstance(values, list) and values and all(isinstance(name, str) for name in values):
        return values
    return None
