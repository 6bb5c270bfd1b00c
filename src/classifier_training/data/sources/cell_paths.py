"""Which file the cell of a table means: a path, an address, or the id of an image whose ending it leaves out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Final

from classifier_training.data.sources.address import is_remote, resolve, split_address
from classifier_training.data.sources.addresses_of_data import check_address
from classifier_training.data.sources.locations import entries, inside, is_image, name_of, show
from classifier_training.data.sources.remote import exists
from classifier_training.data.sources.table_rows import TableFile, Where, fault
from classifier_training.errors import DataError
from classifier_training.imaging.decode import IMAGE_EXTENSIONS

NUM_FIRST_CELLS: Final = 20
"""How many cells are looked at to find the folder that paths are relative to."""
_FIRST_CELLS_OF_REMOTE: Final = 3  # each is a request
_MOST_FOLDERS: Final = 50


class CellPaths:
    """Finds the images that the cells of one table name.

    A path is relative to the table's folder. Where none of the first images lies there, and all that are found lie in
    one folder beside the table (``train.csv`` and ``train/``), it is relative to that one.

    Args:
        file: The table.
        column: Its column of images, for messages.
        first: The first cells.
    """

    def __init__(self, file: TableFile, column: str, first: Sequence[str]) -> None:
        self.notes: list[str] = []
        self._file = file
        self._column = column
        self._by_stem: dict[str, dict[str, list[str]]] = {}
        self._folder = file.folder
        self._folder = self._find_folder(first)

    def locate(self, where: Where, cell: str | None) -> tuple[str, str]:
        """Folder and name of the image that a cell means.

        Raises:
            DataError: It is empty, an address that a table may not name, or the id of several images.
        """
        if not cell:
            raise fault(where, f"the column {self._column!r} is empty")
        if "::" in cell or "://" in cell:
            refusal = check_address(cell, self._file.address or str(self._file.path))
            if refusal is not None:
                raise fault(where, f"{show(cell)!r} in the column {self._column!r} {refusal}")
            if is_remote(cell):
                return split_address(cell)
        return self._locate(where, cell)

    def _locate(self, where: Where | None, cell: str) -> tuple[str, str]:
        if "\\" in cell and os.sep == "/" and (self._file.address or not os.path.lexists(self._path(cell))):
            cell = cell.replace("\\", "/")
        if self._file.address:
            folder, name = split_address(resolve(self._folder, cell))
        else:
            folder, name = os.path.split(self._path(cell))
        if os.path.splitext(cell)[1].lower() in IMAGE_EXTENSIONS or not name:  # noqa: PTH122 - as above
            return folder, name
        return folder, self._with_extension(where, folder, name)

    def _path(self, cell: str) -> str:
        return os.path.join(self._folder, cell)  # noqa: PTH118 - a Path a row takes minutes

    def _with_extension(self, where: Where | None, folder: str, name: str) -> str:
        """The name of the one image whose name without its ending is ``name``; itself where there is none."""
        if folder not in self._by_stem:
            stems: dict[str, list[str]] = {}
            for file in _files(folder):
                bare = split_address(file)[1] if is_remote(file) else os.path.basename(file)  # noqa: PTH119 - as above
                stems.setdefault(bare, []).append(bare)
                if is_image(file):
                    stems.setdefault(os.path.splitext(bare)[0], []).append(bare)  # noqa: PTH122 - as above
            self._by_stem[folder] = stems
        found = self._by_stem[folder].get(name, [])
        if name in found or not found:
            return name
        if len(found) > 1 and where is not None:
            raise fault(where, f"{name!r} in the column {self._column!r} could be {' or '.join(found)}; name the file")
        return found[0]

    def _find_folder(self, first: Sequence[str]) -> str:
        """The folder that paths are relative to."""
        cells = [cell for cell in first if cell and "://" not in cell and "::" not in cell]
        cells = cells[: _FIRST_CELLS_OF_REMOTE if self._file.address else NUM_FIRST_CELLS]
        if not cells or self._has_any(self._file.folder, cells):
            return self._file.folder
        try:
            beside = entries(self._file.folder or ".").folders
        except DataError:  # a web server may give files and no lists of them
            return self._file.folder
        stem = PurePosixPath(name_of(self._file.address or str(self._file.path))).stem
        likely = [folder for folder in beside if name_of(folder) == stem]
        others = [folder for folder in beside if folder not in likely][:_MOST_FOLDERS]
        for candidates in (likely, others):
            having = [folder for folder in candidates if self._has_any(folder, cells)]
            if len(having) > 1:
                both = " and ".join(map(show, having[:2]))
                raise DataError(
                    f"{self._file}: images of the column {self._column!r} are in {both}; write the folder into the"
                    " paths of the table"
                )
            if having:
                self.notes.append(f"the images of {self._file} are read from {show(having[0])}")
                return having[0]
        return self._file.folder

    def _has_any(self, folder: str, cells: Iterable[str]) -> bool:
        self._folder = folder
        for cell in cells:
            location = inside(*self._locate(None, cell))
            if exists(location, self._file.address) if is_remote(location) else os.path.lexists(location):
                return True
        return False


def _files(folder: str) -> Sequence[str]:
    try:
        return entries(folder).files
    except DataError:  # a missing folder is reported with the image; a web server may give no lists
        return ()
