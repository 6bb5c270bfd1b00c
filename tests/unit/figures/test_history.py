from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from classifier_training.figures.history import MAX_MARKED_EPOCHS, plot_history, read_history
from classifier_training.figures.rendering import save_figure


def make_rows(num_epochs: int) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "train/loss": 2 / (epoch + 1), "val/loss": 1.0, "val/top1": epoch % 4 / 4, "lr": 0.1}
        for epoch in range(num_epochs)
    ]


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_visible()}


def points(axes: Axes, label: str) -> list[tuple[float, float]]:
    (line,) = [line for line in axes.get_lines() if line.get_label() == label]
    return [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]


def test_rows_of_both_files_are_put_together(tmp_path: Path) -> None:
    metrics, timings = tmp_path / "metrics.csv", tmp_path / "timings.csv"
    metrics.write_text("epoch,step,val/top1,note\n1,6,0.5,good\n0,3,nan,\n")
    timings.write_text("epoch,seconds,images_per_second\n1,2.0,40.0\n")

    first, second = read_history(metrics, timings)

    assert first.keys() == {"epoch", "step", "val/top1"}
    assert math.isnan(first["val/top1"])
    assert second == {"epoch": 1, "step": 6, "val/top1": 0.5, "seconds": 2.0, "images_per_second": 40.0}


def test_without_files_there_are_no_rows(tmp_path: Path) -> None:
    assert read_history(tmp_path / "metrics.csv", tmp_path / "timings.csv") == []
    assert read_history(tmp_path / "metrics.csv") == []


@pytest.mark.parametrize(
    ("scores", "losses", "mode", "expected"),
    [
        ([0.1, 0.9, 0.5], [1.0, 1.0, 1.0], "max", 1),
        ([0.1, 0.9, 0.5], [1.0, 1.0, 1.0], "min", 0),
        ([0.9, 0.9, 0.9], [1.0, 0.5, 0.7], "max", 1),
        ([0.9, 0.9], [1.0, 1.0], "max", 0),
        ([math.nan, 0.2], [1.0, 1.0], "max", 1),
    ],
)
def test_the_best_epoch_is_that_of_the_checkpoint(
    scores: list[float], losses: list[float], mode: Any, expected: int
) -> None:
    rows = [
        {"epoch": epoch, "val/top1": score, "val/loss": loss}
        for epoch, (score, loss) in enumerate(zip(scores, losses, strict=True))
    ]
    accuracy = panels(plot_history(rows, "val/top1", mode))["accuracy"]
    assert [x for x, _ in points(accuracy, f"best: epoch {expected + 1}")] == [expected + 1] * 2


def test_where_nothing_was_monitored_no_epoch_is_the_best() -> None:
    figure = plot_history([{"epoch": 0, "val/loss": 1.0}], "val/top1", "max")
    assert "best" not in str([axes.get_legend_handles_labels()[1] for axes in figure.axes])


def test_each_panel_shows_its_lines_by_epochs_from_one() -> None:
    rows = [row | {"images_per_second": 100.0} for row in make_rows(3)]

    shown = panels(plot_history(rows))

    assert list(shown) == ["loss", "accuracy", "learning rate", "training speed, images/s"]
    assert points(shown["loss"], "train/loss") == [(1, 2.0), (2, 1.0), (3, 2 / 3)]
    assert points(shown["accuracy"], "val/top1") == [(1, 0.0), (2, 0.25), (3, 0.5)]
    for title in ("loss", "accuracy"):
        assert [x for x, _ in points(shown[title], "best: epoch 3")] == [3, 3]


def test_values_that_are_missing_leave_no_point() -> None:
    rows = make_rows(3)
    rows[1]["val/loss"] = math.nan
    del rows[2]["val/loss"]
    assert points(panels(plot_history(rows))["loss"], "val/loss") == [(1, 1.0)]


def test_somebody_elses_metrics_find_their_panels() -> None:
    rows = [{"epoch": 0, "train_loss": 1.0, "val_acc": 0.5, "$loss$": 3.0, "lr-AdamW": 0.1, "other": 1.0}]
    shown = panels(plot_history(rows))
    assert list(shown) == ["loss", "accuracy", "learning rate"]
    assert points(shown["loss"], r"\$loss\$") == [(1, 3.0)]


@pytest.mark.parametrize(("num_epochs", "are_marked"), [(1, True), (MAX_MARKED_EPOCHS, True), (200, False)])
def test_points_are_seen_where_a_line_would_not_be(num_epochs: int, are_marked: bool) -> None:
    (line, *_) = panels(plot_history(make_rows(num_epochs)))["loss"].get_lines()
    assert (line.get_marker() == "o") is are_marked


@pytest.mark.parametrize("num_epochs", [0, 1, 200])
def test_a_history_of_any_length_is_plotted(tmp_path: Path, num_epochs: int) -> None:
    save_figure(plot_history(make_rows(num_epochs)), tmp_path / "history.png")
    with Image.open(tmp_path / "history.png") as image:
        assert image.width >= 500


def test_a_name_that_begins_with_an_underscore_is_in_the_legend() -> None:
    figure = plot_history([{"epoch": 0.0, "_loss": 1.0}, {"epoch": 1.0, "_loss": 0.5}])
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text().strip() for text in legend.get_texts()] == ["_loss"]
