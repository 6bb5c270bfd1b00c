"""What was sampled compared with what the data holds, by class and epoch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np

from classifier_training.callbacks.deferred_plot import DeferredPlot
from classifier_training.data.sampling.epoch_samples import EpochSamples, SampledTable, epoch_samples
from classifier_training.errors import ConfigError
from classifier_training.figures.rendering import PlottingBudget, save_figure
from classifier_training.figures.sampler import plot_sampled_classes
from classifier_training.figures.text import named
from classifier_training.terminal.terminal import Terminal
from classifier_training.warn import warn_instead_of_raise

MAX_CLASSES_SHOWN = 20
"""Of more classes than this the terminal shows those that were repeated most and least."""
_MAX_NAMED = 3


class SamplerDistributionCallback(DeferredPlot):
    """Counts the samples of each class in every epoch, exactly as the model saw them, over all ranks.

    It writes a CSV file with a row for each epoch and class, plots it, and prints the first epoch's. It warns,
    once a run for each class, of a class that was never sampled in an epoch, and of one whose images were repeated too
    often. It reads the samples of an `ImageFolderDataModule` or a `TrackingWeightedRandomSampler`; without either,
    nothing is written.

    Args:
        path: The CSV file; a resumed run continues it.
        figure: The image, a PNG file; None: no plot.
        max_repeats: Warn when the images of a class are sampled more often than this in an epoch, on average.
        terminal: Where messages go; None: nowhere.
        budget: Decides whether there is time to plot during a training; None: one of its own.
    """

    def __init__(
        self,
        path: str | Path,
        figure: str | Path | None = None,
        max_repeats: float = 10.0,
        terminal: Terminal | None = None,
        budget: PlottingBudget | None = None,
    ) -> None:
        super().__init__(budget)
        if not max_repeats > 0:
            raise ConfigError(f"SamplerDistributionCallback: max_repeats={max_repeats}; allowed are numbers > 0")
        self.table = SampledTable(Path(path))
        self.figure = None if figure is None else Path(figure)
        self.max_repeats = max_repeats
        self.terminal = terminal
        self._warned: dict[str, list[str]] = {"never": [], "often": []}

    def state_dict(self) -> dict[str, Any]:
        """Which classes were warned of."""
        return {"warned": {kind: list(names) for kind, names in self._warned.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self._warned = {kind: list(names) for kind, names in state_dict["warned"].items()}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Reads the rows of the epochs that are done."""
        super().on_train_start(trainer, pl_module)
        if trainer.global_step == 0:
            self._warned = {"never": [], "often": []}  # another run with the same callback
        if trainer.is_global_zero:
            with warn_instead_of_raise(f"the beginning of {self.table.path.name}"):
                self.table.read(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Adds the epoch."""
        if trainer.is_global_zero:
            with warn_instead_of_raise(self.table.path.name):
                samples = epoch_samples(trainer, trainer.current_epoch)
                if samples is not None:
                    self._add(trainer.current_epoch, samples)

    def _add(self, epoch: int, samples: EpochSamples) -> None:
        self.table.write(epoch, samples)
        if self.terminal is not None and epoch == 0:
            _print_samples(samples, self.terminal)
        self._warn(epoch, samples)
        if self.figure is not None:
            self.plot(partial(self._plot_table, samples, self.figure))

    def _warn(self, epoch: int, samples: EpochSamples) -> None:
        counts = zip(samples.classes, samples.images.tolist(), samples.sampled.tolist(), strict=True)
        names = [name for name, images, times in counts if images and not times]
        if new := self._not_warned("never", names):
            warnings.warn(f"epoch {epoch + 1} sampled no image of {_some(new)}", stacklevel=3)
        repeats = dict(zip(samples.classes, samples.repeats.tolist(), strict=True))
        names = [name for name, times in repeats.items() if times > self.max_repeats]
        if new := self._not_warned("often", names):
            warnings.warn(
                f"epoch {epoch + 1} sampled each image of {_some(new)} {max(repeats[name] for name in new):.1f} times,"
                f" more than report.max_repeats={self.max_repeats:g}: expect overfitting to them;"
                " data.balance_weighting=inverse_sqrt repeats less",
                stacklevel=3,
            )

    def _not_warned(self, kind: str, names: Sequence[str]) -> list[str]:
        """Those that were not warned of before; from now on they were."""
        known = set(self._warned[kind])
        new = [name for name in names if name not in known]
        self._warned[kind] += new
        return new

    def _plot_table(self, latest: EpochSamples, figure: Path, _: PlottingBudget | None) -> None:
        with warn_instead_of_raise(figure.name), self.budget.spending():
            epochs = sorted(self.table.sampled)
            samples = np.array([self.table.sampled[epoch] for epoch in epochs], np.int64)
            save_figure(plot_sampled_classes(latest.classes, latest.images, epochs, samples), figure)


def _print_samples(samples: EpochSamples, terminal: Terminal) -> None:
    """Prints the samples of the first epoch; one line if no class was sampled more often than the data holds it."""
    images, total = int(samples.images.sum()), int(samples.sampled.sum())
    if (samples.sampled <= samples.images).all() and samples.sampled.any():
        rest = (
            f"; {images - total} did not fill a batch, and others will be left out next time" if total < images else ""
        )
        terminal.info(f"epoch 1 sampled {total} of {images} training images, each once{rest}")
        return
    order = np.argsort(-samples.repeats, kind="stable").tolist()
    half = MAX_CLASSES_SHOWN // 2
    rows = [_cells(samples, position) for position in order]
    if len(order) > MAX_CLASSES_SHOWN:
        rows[half:-half] = [[f"… {len(order) - 2 * half} more", "", "", ""]]
    rows.append(["all", str(images), str(total), f"{total / max(1, images):.2f}"])
    terminal.table("sampled in epoch 1", ["class", "images", "sampled", "repeats"], rows)


def _cells(samples: EpochSamples, position: int) -> list[str]:
    name = named(samples.classes[position])
    return [name, str(samples.images[position]), str(samples.sampled[position]), f"{samples.repeats[position]:.2f}"]


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _MAX_NAMED} more classes" if len(names) > _MAX_NAMED else ""
    return ", ".join(repr(named(name)) for name in names[:_MAX_NAMED]) + more
