from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tests.helpers.training import LIGHTNING_NOTICES, ColouredNoise, make_loader, make_model, make_trainer
from tests.unit.figures.nasty_names import NASTY_NAMES
from torch.utils.data import DataLoader

from classifier_training.data import TrackingWeightedRandomSampler
from classifier_training.data.sampling.epoch_samples import EpochSamples, SampledTable, epoch_samples
from classifier_training.files.tables import read_columns

pytestmark = LIGHTNING_NOTICES


class Named(ColouredNoise):
    """As torchvision's datasets say what they hold; the last class has no images."""

    classes = ("ant", "bee", "cat", "dog", "elk")


def test_repeats_are_samples_for_each_image() -> None:
    samples = EpochSamples(("a", "b", "c"), np.array([4, 10, 0]), np.array([6, 5, 0]))
    assert samples.repeats.tolist() == [1.5, 0.5, 0.0]


def test_our_sampler_in_a_plain_loader_gives_each_epoch(tmp_path: Path) -> None:
    sampler = TrackingWeightedRandomSampler([1.0, 0.0] * 8, 12, generator=torch.Generator())
    trainer = make_trainer(tmp_path, max_epochs=2)
    trainer.fit(make_model(), DataLoader(Named(16), 4, sampler=sampler), make_loader(1))

    found = [epoch_samples(trainer, epoch) for epoch in range(2)]

    for epoch, samples in enumerate(found):
        assert samples is not None
        assert samples.classes == Named.classes
        assert samples.images.tolist() == [4, 4, 4, 4, 0]
        assert samples.sampled.tolist() == np.bincount(sampler.indices(epoch) % 4, minlength=5).tolist()
        assert samples.sampled.tolist()[1::2] == [0, 0]


def test_of_another_sampler_nothing_is_known(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.fit(make_model(), make_loader(2), make_loader(1))
    assert epoch_samples(trainer, 0) is None


def test_classes_without_a_name_have_a_number(tmp_path: Path) -> None:
    class TwoNames(ColouredNoise):
        classes = ("ant", "bee")

    sampler = TrackingWeightedRandomSampler([1.0] * 16, 16, generator=torch.Generator())
    trainer = make_trainer(tmp_path)
    trainer.fit(make_model(), DataLoader(TwoNames(16), 4, sampler=sampler), make_loader(1))
    samples = epoch_samples(trainer, 0)
    assert samples is not None
    assert samples.classes == ("ant", "bee", "2", "3")
    assert len(samples.images) == len(samples.sampled) == 4


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
