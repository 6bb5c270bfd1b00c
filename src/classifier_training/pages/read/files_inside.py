"""Images that a file of a run names: only files inside of the run are shown, because run folders are copied around."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath

MAX_BYTES = 2**20
LARGEST_FIGURE_BYTES = 2**24


class FilesInside:
    """Finds files below a folder, and none outside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: dict[Path, bool] = {root: True}

    def find(self, name: str | None, max_bytes: int = MAX_BYTES) -> Path | None:
        """The file of that relative name; None where it is missing, leads out of the folder, or is too large."""
        if not name or "\\" in name or "\0" in name:
            return None
        relative = PurePosixPath(name)
        if not relative.parts or relative.is_absolute() or ".." in relative.parts or ":" in relative.parts[0]:
            return None
        path = self.root / relative
        try:
            if not self._is_inside(path.parent):
                return None
            status = path.lstat()
        except OSError:
            return None
        return path if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= max_bytes else None

    def _is_inside(self, folder: Path) -> bool:
        """Whether a folder is reached without a link, which could lead anywhere."""
        known = self._folders.get(folder)
        if known is None:
            known = stat.S_ISDIR(folder.lstat().st_mode) and self._is_inside(folder.parent)
            self._folders[folder] = known
        return known
