"""Class names that look alike: which are the same class, and which are warned of."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from classifier_training.data.sources.listing import Listing
from classifier_training.errors import DataError
from classifier_training.files.text import NUM_NAMED, name_some

if TYPE_CHECKING:
    import pyarrow as pa


def plain_name(name: str) -> str:
    """A class name as it is kept: in Unicode's composed form (NFC), without white space around it.

    Example:
        >>> plain_name(" cafe\u0301 ") == "caf\u00e9"
        True
    """
    return unicodedata.normalize("NFC", name.strip().strip("\ufeff")).strip()


def match_class(name: str, classes: Collection[str]) -> str | None:
    """The one of ``classes`` that a name means: itself, else the only one with the same plain name; None: none."""
    if name in classes:
        return name
    plain = plain_name(name)
    if plain in classes:
        return plain
    alike = [known for known in classes if plain_name(known) == plain]
    return alike[0] if len(alike) == 1 else None


def check_distinct(names: Sequence[str], where: str) -> None:
    """Refuses class names by index of which two are the same class; ``where`` begins the message.

    Raises:
        DataError: It names both indices.
    """
    first: dict[str, int] = {}
    for index, name in enumerate(names):
        plain = plain_name(name)
        if plain in first:
            raise DataError(
                f"{where} names two classes {name!r}, the indices {first[plain]} and {index}; make them differ"
            )
        first[plain] = index


def alike_but_for_case(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The names that differ in upper and lower case only, those of each kind together."""
    found: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        found.setdefault(unicodedata.normalize("NFC", name.casefold()), []).append(name)
    return [tuple(names) for names in found.values() if len(names) > 1]


def with_plain_names(listing: Listing, on_missing_label: Literal["raise", "skip"] = "raise") -> Listing:
    """A listing whose classes have plain names, so that names which look alike are one class; with a warning of it.

    Raises:
        DataError: A class has no name, and its images may not be left out.
    """
    import pyarrow as pa

    if on_missing_label == "skip":
        listing = _without_nameless(listing)
    column = listing.rows.column("label").combine_chunks()
    names: list[str] = column.dictionary.to_pylist()
    plain = [plain_name(name) for name in names]
    warnings = list(listing.warnings)
    if "" in plain:
        raise _nameless(listing.rows, plain.index(""))
    changed = [f"{_visible(old)} as {new!r}" for old, new in zip(names, plain, strict=True) if old != new]
    rows = listing.rows
    if changed:
        warnings.append(f"white space around class names and their Unicode form do not count: {name_some(changed)}")
        renamed = pa.DictionaryArray.from_arrays(column.indices, pa.array(plain, pa.string()))
        values = pa.chunked_array([renamed.dictionary_decode().dictionary_encode()])
        rows = rows.set_column(rows.schema.get_field_index("label"), rows.schema.field("label"), values)
    found = alike_but_for_case(plain)
    for alike in found[:NUM_NAMED]:
        both = " and ".join(map(repr, alike))
        warnings.append(f"the classes {both} differ in upper and lower case only; if they are one, rename one of them")
    if len(found) > NUM_NAMED:
        warnings.append(f"{len(found) - NUM_NAMED} more pairs of classes differ in upper and lower case only")
    return replace(listing, rows=rows, warnings=warnings)


def _visible(name: str) -> str:
    """A name in quotes; with escapes where it looks like the composed one."""
    return repr(name) if unicodedata.is_normalized("NFC", name) else ascii(name)


def _without_nameless(listing: Listing) -> Listing:
    import pyarrow as pa

    column = listing.rows.column("label").combine_chunks()
    is_named = pa.array([bool(plain_name(name)) for name in column.dictionary.to_pylist()], pa.bool_())
    named = listing.rows.filter(is_named.take(column.indices))
    count = listing.rows.num_rows - named.num_rows
    if not count:
        return listing
    labels = named.column("label").combine_chunks().dictionary_decode().dictionary_encode()
    rows = named.set_column(named.schema.get_field_index("label"), named.schema.field("label"), labels)
    return replace(listing, rows=rows, warnings=[*listing.warnings, f"{count} image(s) have no label and are left out"])


def _nameless(rows: pa.Table, code: int) -> DataError:
    import pyarrow.compute as pc

    row = pc.index(rows.column("label").combine_chunks().indices, code).as_py()
    image = rows.slice(row, 1).to_pylist()[0]
    between = "/" if image["offset"] is None else "::"
    return DataError(
        f"{image['place']}{between}{image['name']} has an empty label; name its class, or leave such images out with"
        " data.on_missing_label=skip"
    )
