from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from classifier_training.config.schema import DataConfig, LossConfig
from classifier_training.data.loading.mixing import BatchMixer, mix_images, mix_labels
from classifier_training.models.losses import ClassificationLoss
from classifier_training.types import Mix

BOTH: dict[str, Any] = {"mixup": 0.8, "cutmix": 1.0}


def make_mixer(*, first_unmixed_epoch: int | None = None, num_repeats: int = 1, **settings: Any) -> BatchMixer:
    return BatchMixer(
        DataConfig(**settings), 3, seed=5, first_unmixed_epoch=first_unmixed_epoch, num_repeats=num_repeats
    )


def sample_many(mixer: BatchMixer, number: int = 600, batch_size: int = 8) -> list[Mix | None]:
    return [mixer.sample(0, position, batch_size, 32) for position in range(number)]


def make_batch(size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, 3, 16, 16, generator=generator).contiguous(memory_format=torch.channels_last)
    return images, torch.randint(3, (size,), generator=generator)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_images_and_targets_are_torchvisions_for_the_same_numbers(kind: str) -> None:
    images, labels = make_batch()
    box = None if kind == "mixup" else (2, 4, 10, 9)
    share = 0.3 if box is None else 1 - 8 * 5 / 16**2
    theirs = v2.MixUp(num_classes=3) if box is None else v2.CutMix(num_classes=3)
    numbers = {"labels": labels, "batch_size": 8, "lam": share, "box": (4, 2, 9, 10), "lam_adjusted": share}
    expected = theirs.transform(images, numbers)

    mix = Mix(share, 1, box, 3)
    mixed = mix_images(images.clone(memory_format=torch.preserve_format), mix)

    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(mix_labels(labels, mix), theirs.transform(labels, numbers))
    assert mixed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shift", [1, 3, 7])
def test_every_image_is_the_partner_of_one_other_so_the_classes_keep_their_counts(shift: int) -> None:
    images, labels = make_batch()
    mixed = mix_images(images.clone(), Mix(0.25, shift, None, 3))

    for number in range(8):
        torch.testing.assert_close(mixed[number], 0.25 * images[number] + 0.75 * images[number - shift])
    targets = mix_labels(labels, Mix(0.25, shift, None, 3))
    torch.testing.assert_close(targets.sum(0), torch.bincount(labels, minlength=3).float())
    torch.testing.assert_close(targets.sum(1), torch.ones(8))


def test_a_box_of_a_partner_has_the_area_that_the_target_says() -> None:
    images = torch.zeros(4, 3, 32, 32)
    images[2] = 1.0
    for number, mix in enumerate(sample_many(make_mixer(cutmix=1.0), 50, batch_size=4)):
        assert mix is not None, number
        mixed = mix_images(images.clone(), mix)
        assert mixed[2].mean().item() == pytest.approx(mix.share, abs=1e-6)
        assert mixed[(2 + mix.shift) % 4].mean().item() == pytest.approx(1 - mix.share, abs=1e-6)


def test_shares_and_kinds_are_distributed_as_set() -> None:
    mixes = sample_many(make_mixer(**BOTH, mix_prob=0.75, mix_switch_prob=0.4), 3000)
    mixed = [mix for mix in mixes if mix is not None]
    blended = np.array([mix.share for mix in mixed if mix.box is None])

    assert len(mixed) / 3000 == pytest.approx(0.75, abs=0.03)
    assert len(blended) / len(mixed) == pytest.approx(0.6, abs=0.03)
    assert blended.mean() == pytest.approx(0.5, abs=0.03)
    assert blended.var() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), abs=0.01)  # of Beta(0.8, 0.8)
    assert {mix.shift for mix in mixed} == set(range(1, 8))


@pytest.mark.parametrize(("settings", "kinds"), [
    ({}, {None}), ({"mixup": 0.2}, {"mixup"}), ({"cutmix": 1.0}, {"cutmix"}), (BOTH, {"mixup", "cutmix"}),
    ({**BOTH, "mix_switch_prob": 1.0}, {"cutmix"}), ({**BOTH, "mix_prob": 0.0}, {None}),
])  # fmt: skip
def test_what_is_on(settings: dict[str, Any], kinds: set[str | None]) -> None:
    found = {
        None if mix is None else "mixup" if mix.box is None else "cutmix"
        for mix in sample_many(make_mixer(**settings), 50)
    }
    assert found == kinds


def test_a_mix_follows_from_seed_epoch_and_position() -> None:
    mixer = make_mixer(**BOTH)
    here = mixer.sample(1, 24, 8, 32)

    assert here == make_mixer(**BOTH).sample(1, 24, 8, 32)
    assert here != mixer.sample(2, 24, 8, 32)
    assert here != mixer.sample(1, 25, 8, 32), "of another rank"


def test_the_last_epochs_and_a_single_image_are_not_mixed() -> None:
    mixer = make_mixer(**BOTH, first_unmixed_epoch=4)

    assert mixer.sample(3, 0, 8, 32) is not None
    assert mixer.sample(4, 0, 8, 32) is None
    assert mixer.sample(0, 0, 1, 32) is None
    assert mixer.sample(0, 0, 2, 32) is not None


def test_repeats_of_an_image_are_not_mixed_with_each_other() -> None:
    repeated = torch.arange(12) // 3
    for mix in sample_many(make_mixer(**BOTH, num_repeats=3), 200, batch_size=12):
        assert mix is not None
        assert 3 <= mix.shift <= 9
        assert (repeated != repeated.roll(mix.shift)).all()
    assert {mix.shift for mix in sample_many(make_mixer(**BOTH, num_repeats=3), 50, batch_size=5) if mix} == {
        1,
        2,
        3,
        4,
    }


def test_a_batch_of_one_class_keeps_its_target() -> None:
    assert mix_labels(torch.tensor([1, 1, 1]), Mix(0.3, 1, None, 3)).tolist() == [[0, 1, 0]] * 3


@pytest.mark.parametrize("name", ["cross_entropy", "bce", "focal"])
@pytest.mark.parametrize("correction", [{}, {"class_weights": [0.2, 1.0, 3.0]}, {"class_counts": [10, 20, 70]}])
def test_the_loss_of_a_mix_is_the_mix_of_the_losses(name: Any, correction: dict[str, Any]) -> None:
    """λ L(z, a) + (1 − λ) L(z, b), weighted by the class weights, smoothed once, logits adjusted once."""
    loss = ClassificationLoss(LossConfig(name=name, label_smoothing=0.1), **correction)
    logits, labels = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.2, -0.3]]), torch.tensor([2, 0])
    (first, second) = (loss(logits[:1], label[None]) for label in labels)
    weights = torch.tensor(correction.get("class_weights", [1.0] * 3))[labels] * torch.tensor([0.7, 0.3])

    mixed = loss(logits[:1], mix_labels(labels, Mix(0.7, 1, None, 3))[:1])

    torch.testing.assert_close(mixed, (weights[0] * first + weights[1] * second) / weights.sum())
