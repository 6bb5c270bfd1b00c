"""The figures of a run folder, whichever code has plotted them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from classifier_training.files.text import plain_text
from classifier_training.run.folder import RunFolder
from classifier_training.tracking.tracker import Figure

PNG_START = b"\x89PNG\r\n\x1a\n"


class RunFigures:
    """Reads the PNG files of a run folder except those of trackers and evaluations, and again only after a change.

    Args:
        run: The run.
    """

    def __init__(self, run: RunFolder) -> None:
        self._root = run.root
        self._excluded = {run.tensorboard, run.wandb, run.evaluations}
        self._read: dict[Path, tuple[tuple[int, int, int], Figure]] = {}

    def find(self) -> list[Figure]:
        """All figures, by name; a file that cannot be read at the moment is left out."""
        return sorted(self._figures(), key=lambda figure: figure.name)

    def _figures(self) -> Iterator[Figure]:
        for path in self._paths():
            try:
                figure = self._figure(path)
            except OSError:  # removed since it was found
                continue
            if figure.png.startswith(PNG_START):
                yield figure

    def _paths(self) -> Iterator[Path]:
        for name, folders, files in os.walk(self._root):
            folder = Path(name)
            folders[:] = [below for below in folders if folder / below not in self._excluded]
            yield from (folder / file for file in files if file.endswith(".png") and not file.startswith("."))

    def _figure(self, path: Path) -> Figure:
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._read.get(path)
        if known is not None and known[0] == version:
            return known[1]
        png = path.read_bytes()
        name = plain_text(path.relative_to(self._root).with_suffix("").as_posix())
        figure = Figure(name, png, hashlib.sha256(png).hexdigest())
        self._read[path] = (version, figure)
        return figure
