"""Statistics of the photos, printed and plotted before training begins."""

from __future__ import annotations

from pathlib import Path

import lightning

from classifier_training.data.index.statistics import dataset_statistics
from classifier_training.data.photos import Photos
from classifier_training.figures.rendering import PlottingBudget, save_figure
from classifier_training.figures.statistics import plot_image_sizes, plot_images_per_class
from classifier_training.figures.text import named
from classifier_training.run.records import write_record
from classifier_training.run.statistics import Spread, Statistics
from classifier_training.terminal.terminal import Terminal
from classifier_training.warn import warn_instead_of_raise

MAX_CLASSES_SHOWN = 20
"""Of more classes than this the terminal shows the largest and the smallest ones; the file has all."""


class DatasetStatisticsCallback(lightning.Callback):
    """Counts images by class and split, their sizes and modes; writes, plots and prints that once, at the start.

    Without an `ImageFolderDataModule` in the trainer there is no index of the photos, and nothing is written.

    Args:
        path: A JSON file.
        plots: Folder that gets ``images_per_class.png`` and ``image_sizes.png``.
        terminal: Where messages go; None: nowhere.
        budget: The time for plotting that a run shares; None: one of its own.
        show_counts: Whether to print the images of each class and split too.
    """

    def __init__(
        self,
        path: str | Path,
        plots: str | Path,
        terminal: Terminal | None = None,
        budget: PlottingBudget | None = None,
        *,
        show_counts: bool = True,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.plots = Path(plots)
        self.terminal = terminal
        self.budget = budget or PlottingBudget()
        self.show_counts = show_counts

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Writes and plots; prints, unless the run was resumed and has printed before."""
        photos = getattr(getattr(trainer, "datamodule", None), "photos", None)
        if not trainer.is_global_zero or not isinstance(photos, Photos):
            return
        is_known = self.path.is_file()
        with warn_instead_of_raise("data/statistics.json"), self.budget.spending():
            statistics = dataset_statistics(photos)
            write_record(self.path, statistics)
            if self.terminal is not None and not is_known:
                if self.show_counts:
                    _print_counts(statistics, self.terminal)
                self.terminal.pairs("images", _facts(statistics))
            save_figure(plot_images_per_class(statistics), self.plots / "images_per_class.png")
            save_figure(plot_image_sizes(statistics), self.plots / "image_sizes.png")


def _print_counts(statistics: Statistics, terminal: Terminal) -> None:
    splits, classes = list(statistics.counts), statistics.classes
    counts = statistics.counts["train"]
    order = sorted(range(len(classes)), key=lambda index: -counts[index])
    half = MAX_CLASSES_SHOWN // 2
    rows = [[named(classes[index]), *(str(statistics.counts[split][index]) for split in splits)] for index in order]
    if len(order) > MAX_CLASSES_SHOWN:
        rows[half:-half] = [[f"… {len(order) - 2 * half} more", *([""] * len(splits))]]
    rows.append(["all", *(str(sum(statistics.counts[split])) for split in splits)])
    terminal.table("images per class", ["class", *splits], rows)


def _facts(statistics: Statistics) -> dict[str, str]:
    """Human-readable facts about all images."""
    spreads = statistics.spreads
    facts = {
        "imbalance": f"{statistics.imbalance_ratio:.3g} (largest / smallest training class)",
        "width": _range(spreads["width"], " px"),
        "height": _range(spreads["height"], " px"),
        "aspect ratio": _range(spreads["aspect_ratio"], ""),
        "modes": ", ".join(f"{count} {mode}" for mode, count in statistics.modes.items()),
    }
    if statistics.num_bad:
        facts["left out"] = f"{statistics.num_bad} file(s), named in data/split.csv"
    return facts


def _range(spread: Spread, unit: str) -> str:
    return f"{spread.min:.4g} to {spread.max:.4g}{unit}, median {spread.median:.4g}{unit}"
