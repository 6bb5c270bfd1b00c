"""How figures are drawn while a model is trained: cheaply, and without ever stopping the training."""

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

_COMPRESSION: Final = 3  # takes half the time of the usual 6, and a tenth more space


class PlottingBudget:
    """Keeps what is looked at cheap: a figure is drawn again only while all drawing took a small share of the time.

    One budget is shared by all that draw in a run. What is drawn at the end of a run asks for nothing.

    Args:
        share: Share of the time since the first question that drawing may take.
    """

    def __init__(self, share: float = 0.005) -> None:
        self.share = share
        self.spent = 0.0
        self._started: float | None = None
        self._waiting: set[object] = set()
        self._drawn: Counter[object] = Counter()

    def wait(self, who: object) -> bool:
        """Whether it is ``who``'s turn: there is time, and nobody who waits as well has drawn less often."""
        self._waiting.add(who)
        return self.is_open and self._drawn[who] <= min(self._drawn[other] for other in self._waiting)

    def note_plotted(self, who: object) -> None:
        """``who`` draws now, and waits no longer."""
        self._waiting.discard(who)
        self._drawn[who] += 1

    @property
    def is_open(self) -> bool:
        """Whether there is time to draw."""
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
    """An empty figure that belongs to no window, so that threads and servers without a screen can draw.

    Args:
        width: Inches, of 100 pixels.
        height: Inches.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def save_figure(figure: Figure, path: Path, *, behind: Image.Image | None = None) -> None:
    """Writes a figure as PNG, atomically; letters that the font lacks become boxes, without a warning.

    It is drawn once, where ``Figure.savefig`` draws it twice.

    Args:
        figure: As `new_figure` makes it.
        path: The file.
        behind: Pixels that need no scaling, which Matplotlib would do; stands behind a figure without ground.
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
