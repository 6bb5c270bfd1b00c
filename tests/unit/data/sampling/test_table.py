from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.unit.figures.nasty_names import NASTY_NAMES

from classifier_training.data.sampling.epoch_samples import EpochSamples
from classifier_training.data.sampling.table import SampledTable
from classifier_training.files.tables import read_columns


def samples(*counts: int, classes: tuple[str, ...] = ("a", "b")) -> EpochSamples:
    return EpochSamples(classes, np.full(len(counts), 5, np.int64), np.array(counts, np.int64))


def test_every_epoch_and_class_has_a_row(tmp_path: Path) -> None:
    table = SampledTable(tmp_path / "data" / "sampled.csv")

    table.write(0, samples(1, 2))
    table.write(1, samples(3, 4))
    table.write(1, samples(7, 8))

    assert table.path.read_text() == "epoch,class,images,drawn\n0,a,5,1\n0,b,5,2\n1,a,5,7\n1,b,5,8\n"


def test_another_process_resumes_with_the_epochs_that_are_done(tmp_path: Path) -> None:
    first = SampledTable(tmp_path / "sampled.csv")
    for epoch in range(3):
        first.write(epoch, samples(epoch, 9))
    expected = first.path.read_bytes()

    again = SampledTable(first.path)
    again.read(2)
    again.write(2, samples(2, 9))

    assert again.path.read_bytes() == expected
    assert {epoch: counts.tolist() for epoch, counts in again.sampled.items()} == {0: [0, 9], 1: [1, 9], 2: [2, 9]}


def test_without_finished_epochs_it_starts_empty(tmp_path: Path) -> None:
    table = SampledTable(tmp_path / "sampled.csv")
    table.write(0, samples(1, 1))

    table.read(0)

    assert table.sampled == {}
    SampledTable(tmp_path / "none.csv").read(3)


def test_names_come_back_as_they_were(tmp_path: Path) -> None:
    table = SampledTable(tmp_path / "sampled.csv")
    table.write(0, samples(*range(len(NASTY_NAMES)), classes=NASTY_NAMES))
    before = table.path.read_bytes()

    table.read(1)
    table.write(1, samples(*range(len(NASTY_NAMES)), classes=NASTY_NAMES))

    assert table.path.read_bytes().startswith(before)
    names = [name for epoch, name in read_columns(table.path, ["epoch", "class"]) if epoch == "0"]
    assert names == list(NASTY_NAMES)
