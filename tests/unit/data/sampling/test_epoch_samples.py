from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tests.helpers.training import LIGHTNING_NOTICES, ColouredNoise, make_loader, make_model, make_trainer
from torch.utils.data import DataLoader

from classifier_training.data import TrackingWeightedRandomSampler
from classifier_training.data.sampling.epoch_samples import EpochSamples, epoch_samples

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
