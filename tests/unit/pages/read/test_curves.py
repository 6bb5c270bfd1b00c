from __future__ import annotations

from pathlib import Path

import pytest

from classifier_training.pages.read.curves import Curves, read_curves
from classifier_training.run.records import DamagedFileError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_missing_value_is_a_gap(tmp_path: Path) -> None:
    curves = read_curves(write(tmp_path / "m.csv", "epoch,val/top1,lr\n1,0.5,nan\n0,,1e-3\n2,inf,0\n"))

    assert curves.epochs == (0, 1, 2)
    assert curves.columns == {"val/top1": (None, 0.5, None), "lr": (0.001, None, 0.0)}


def test_a_table_without_rows_is_empty(tmp_path: Path) -> None:
    assert read_curves(write(tmp_path / "m.csv", "epoch,lr\n")) == Curves((), {"lr": ()})


@pytest.mark.parametrize(
    "text", ["lr,epoch\n1,0\n", "epoch,lr,lr\n0,1,1\n", "epoch\nx\n", "epoch,lr\n0,x\n", "epoch\n-1\n"]
)
def test_another_table_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DamagedFileError):
        read_curves(write(tmp_path / "m.csv", text))


def test_the_best_epoch_is_the_first_of_equal_ones() -> None:
    curves = Curves((0, 1, 2, 4), {"val/top1": (None, 0.5, 0.25, 0.5), "none": (None,) * 4})

    assert curves.best("val/top1", is_lower_better=False) == (1, 0.5)
    assert curves.best("val/top1", is_lower_better=True) == (2, 0.25)
    assert curves.best("none", is_lower_better=True) is None
    assert curves.best("absent", is_lower_better=True) is None


def test_of_equal_epochs_that_with_the_lower_loss_is_the_best_as_for_the_checkpoint() -> None:
    curves = Curves((0, 1, 2, 3), {"val/top1": (0.5, 0.5, 0.5, 0.2), "val/loss": (None, 0.9, 0.7, 0.1)})

    assert curves.best("val/top1", is_lower_better=False) == (2, 0.5)
