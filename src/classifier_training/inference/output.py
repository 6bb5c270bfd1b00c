"""The files that `predict` writes: checked before it begins, and written whole at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from classifier_training.errors import UserError
from classifier_training.files.atomic import atomic_path
from classifier_training.files.tables import write_table
from classifier_training.files.text import exists, is_folder, special_kind
from classifier_training.inference.journal import is_complete
from classifier_training.inference.rows import Row, RowFormat, format_of, json_line
from classifier_training.types import RowsFormat

WriteParquet = Callable[[Path, Iterator[Row], RowFormat], None]
PARTIAL: Final = ".partial"


def check_output(path: Path, kind: RowsFormat | None = None, *, overwrite: bool = False) -> RowsFormat:
    """Refuses a file that could not be written, before any image is read, and creates its folder.

    Args:
        path: The file.
        kind: Its format; None: by its name.
        overwrite: Whether there may be a file already.

    Returns:
        The format.

    Raises:
        UserError: Its format is not known, it exists, or its folder cannot be created.
    """
    found = kind or format_of(path.suffix)
    if found is None:
        raise UserError(f"--output {path}: allowed are a .csv, a .jsonl or a .parquet file; or add --format")
    _check_place("--output", path, overwrite=overwrite)
    return found


def check_features(path: Path, *, overwrite: bool = False) -> None:
    """As `check_output`, for a file of features."""
    if path.suffix not in {".npy", ".parquet"}:
        raise UserError(f"--features {path}: allowed are a .npy or a .parquet file")
    _check_place("--features", path, overwrite=overwrite)


def partial_path(path: Path) -> Path:
    """What is written beside a file until that is whole."""
    return path.with_name(f"{path.name}{PARTIAL}")


def write_rows(
    path: Path, kind: RowsFormat, rows: Iterator[Row], form: RowFormat, write_parquet: WriteParquet | None = None
) -> None:
    """Writes a file of predictions, whole or not at all, a few rows at a time.

    Args:
        path: The file.
        kind: Its format.
        rows: What `RowFormat.row` gave.
        form: Which facts they have.
        write_parquet: Writes ``parquet``, which needs another package.

    Raises:
        OSError: It cannot be written.
    """
    if kind == "csv":
        write_table(path, form.columns, map(form.text_cells, rows))
    elif kind == "jsonl":
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.writelines(map(json_line, rows))
    elif write_parquet is not None:
        write_parquet(path, rows, form)


def _check_place(option: str, path: Path, *, overwrite: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{option} {path}: cannot create the folder {path.parent}: {error.strerror}") from None
    special = special_kind(path)
    if special is not None:
        raise UserError(f"{option} {path}: {special}; name another file")
    if is_folder(path):
        raise UserError(f"{option} {path}: this is a folder; name a file in it")
    if exists(path) and not overwrite and not is_complete(partial_path(path)):
        raise UserError(f"{option} {path}: the file exists; name another one, or add --overwrite to replace it")
