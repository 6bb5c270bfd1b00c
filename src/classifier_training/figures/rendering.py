"""Rendering of figures during a training, within a time budget."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from classifier_training.files.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COMPRESSION: Final = 3  # takes half the time of the default 6, and 10 % more space


class PlottingBudget:
    """Keeps plotting cheap: figures are updated only while all plotting took a small share of the time.

    All callbacks of a run share one budget. Figures at the end of a run are not limited.

    Args:
        share: Largest share of the time since the first call that plotting may take.
    """

    def __init__(self, share: float = 0.005) -> None:
        self.share = share
        self.spent = 0.0
        self._started: float | None = None
        self._waiting: set[object] = set()
        self._plotted: Counter[object] = Counter()

    def wait(self, who: object) -> bool:
        """Whether it is the turn of ``who``: there is time, and no other waiting one has plotted less often."""
        self._waiting.add(who)
        return self.is_open and self._plotted[who] <= min(self._plotted[other] for other in self._waiting)

    def note_plotted(self, who: object) -> None:
        """``who`` plots now and is no longer waiting."""
        self._waiting.discard(who)
        self._plotted[who] += 1

    @property
    def is_open(self) -> bool:
        """Whether there is time to plot."""
        if self._started is None:
            self._started = time.monotonic()
        return self.spent <= self.share * (time.monotonic() - self._started)

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Counts the time that the block takes."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.spent += time.monotonic() - started


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches of 100 pixels, without a window, for threads and servers without a screen."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def save_figure(figure: Figure, path: Path, *, behind: Image.Image | None = None) -> None:
    """Writes a figure as PNG, atomically; letters that the font lacks become boxes, without a warning.

    It is rendered once; ``Figure.savefig`` would render it twice.

    Args:
        figure: From `new_figure`.
        path: The file.
        behind: Pixels that are shown behind a transparent figure, unscaled.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba()))
    if behind is not None:
        behind.paste(image, mask=image)
        image = behind
    with atomic_path(path, durable=False) as temporary:
        image.convert("RGB").save(temporary, format="png", compress_level=_COMPRESSION)
