"""Which columns of a table are meant: by their exact names, else by the one reading that there is."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from classifier_training.errors import DataError
from classifier_training.files.text import NUM_ALLOWED, name_some

TABLE_EXTENSIONS: Final = (".jsonl", ".csv", ".parquet")
HUB_IMAGE_COLUMN: Final = "file_name"
"""How the Hugging Face hub calls the column of the images in a ``metadata.csv``."""
_USUAL_NAMES: Final = {
    "image": ("image", "filename", "file", "path", "filepath", "imagepath", "imagename", "imageid", "img", "id"),
    "label": ("label", "class", "category", "target", "classname", "labelname", "labels", "species", "breed"),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of a table's columns.

    Attributes:
        image: A path or an address.
        label: The class name.
        split: The split; a table need not have it, unless it has another name than usual.
        group: What must stay in one split together; None: no such column.
        weight: Sampling weight; None: no such column.
        on_missing_label: What to do about a row without a label: stop, or leave it out.
    """

    image: str = "image"
    label: str = "label"
    split: str = "split"
    group: str | None = None
    weight: str | None = None
    on_missing_label: Literal["raise", "skip"] = "raise"

    def required(self) -> dict[str, str]:
        """The setting that names each column which a table must have."""
        return {f"data.{name}_column": column for name, column in self._named() if name != "split"}

    def names(self) -> list[str]:
        """All of them."""
        return [column for _, column in self._named()]

    def _named(self) -> list[tuple[str, str]]:
        named = [(name, getattr(self, name)) for name in ("image", "label", "split", "group", "weight")]
        return [(name, column) for name, column in named if column is not None]


def find_columns(
    table: object, present: Sequence[str], columns: Columns, *, needs_split: bool = True, hints: list[str] | None = None
) -> dict[str, str]:
    """The column of a table that each name in ``columns`` means, of those that it has.

    White space around a name does not count, and the hub's ``file_name`` is the image where no other name was set.
    What is nearly a split column is not one; ``hints`` get a message about it.

    Args:
        table: The table, as messages show it.
        present: The columns that it has.
        columns: The names that are looked for.
        needs_split: Whether a split column with an unusual name must exist.
        hints: Messages for the user are added to it.

    Raises:
        DataError: Two columns have one name, or a required one is missing.
    """
    bare = [name.strip() for name in present]
    twice = [name for name, count in Counter(filter(None, bare)).items() if count > 1]
    if twice:
        raise DataError(f"{table} has two columns of the name {twice[0]!r}; rename or remove one")
    found = {name: present[bare.index(name.strip())] for name in columns.names() if name.strip() in bare}
    if columns.image == Columns().image and columns.image not in found and HUB_IMAGE_COLUMN in bare:
        found[columns.image] = present[bare.index(HUB_IMAGE_COLUMN)]
    required = columns.required()
    if needs_split and columns.split != Columns().split:
        required["data.split_column"] = columns.split
    for setting, name in required.items():
        if name not in found:
            words = suggested_settings(bare, columns)
            names = name_some(map(repr, present), NUM_ALLOWED) or "none"
            way_out = f"name the correct one with {setting}{', such as ' if words else ''}{words}"
            raise DataError(f"{table} has no column {name!r}; its columns are {names}; {way_out}")
    near = [name for name in bare if name.casefold() == columns.split.strip().casefold()]
    if hints is not None and columns.split not in found and near:
        word = shlex.quote(f"data.split_column={near[0]}")
        hints.append(f"{table}: the column {near[0]!r} is not read as the split; if it is one, add {word}")
    return found


def missing_columns(table: object, present: Sequence[str], columns: Columns) -> str | None:
    """Why a table cannot be read with these columns; None: it can."""
    try:
        find_columns(table, present, columns, needs_split=False)
    except DataError as error:
        return str(error)
    return None


def suggested_settings(present: Sequence[str], columns: Columns) -> str:
    """The settings to type where the image's or the label's column of a table can be guessed; empty: none."""
    bare = [name.strip() for name in present]
    found = {name for name in columns.names() if name.strip() in bare}
    if columns.image == Columns().image and HUB_IMAGE_COLUMN in bare:
        found.add(columns.image)
    taken = {HUB_IMAGE_COLUMN, *found}
    guesses: dict[str, str] = {}
    for kind, wanted in (("image", columns.image), ("label", columns.label)):
        if wanted in found:
            continue
        typed = [name for name in bare if name not in taken and name.isprintable()]
        plain = {name: name.casefold().replace("_", "").replace(" ", "") for name in typed}
        usual = (wanted.casefold(), *_USUAL_NAMES[kind])
        guess = min((name for name in plain if plain[name] in usual), key=lambda n: usual.index(plain[n]), default=None)
        if guess is None and len(plain) == 1:
            guess = next(iter(plain))
        if guess:
            guesses[kind] = guess
            taken.add(guess)
    return " ".join(shlex.quote(f"data.{kind}_column={name}") for kind, name in guesses.items())
