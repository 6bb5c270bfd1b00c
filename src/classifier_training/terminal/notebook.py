"""Progress bars in the cells of a notebook: a line of text that changes in its place."""

from __future__ import annotations

import io
import time
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress, ProgressColumn, TaskID

NOTEBOOK_WIDTH: Final = 100
"""Columns of a cell's output; longer lines are wrapped."""
SECONDS_BETWEEN_UPDATES: Final = 0.5


class NotebookProgress(Progress):
    """rich's progress bars through IPython's display, because rich itself needs ipywidgets for them.

    Args:
        columns: Of each bar.
    """

    def __init__(self, *columns: ProgressColumn) -> None:
        self._text = io.StringIO()
        console = Console(file=self._text, width=NOTEBOOK_WIDTH, color_system=None, force_jupyter=False)
        super().__init__(*columns, console=console, auto_refresh=False)
        self._handle: Any = None
        self._last_update = 0.0

    def start(self) -> None:
        """Shows the bars."""
        if self._handle is None:
            from IPython import display

            show: Any = display.display  # has no types
            self._handle = show({"text/plain": self._render()}, raw=True, display_id=True)

    def stop(self) -> None:
        """Shows how far they came."""
        self._show()
        self._handle = None

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Changes a bar, which is shown a moment later."""
        super().update(task_id, **changes)
        if time.monotonic() - self._last_update >= SECONDS_BETWEEN_UPDATES:
            self._show()

    def refresh(self) -> None:
        """Bars are shown by `update`."""

    def _show(self) -> None:
        if self._handle is not None:
            self._last_update = time.monotonic()
            self._handle.update({"text/plain": self._render()}, raw=True)

    def _render(self) -> str:
        self._text.seek(0)
        self._text.truncate()
        self.console.print(self.get_renderable())
        return self._text.getvalue().rstrip()
