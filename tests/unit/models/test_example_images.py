from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from classifier_training.data.loading.normalize import normalize_images
from classifier_training.models.example_images import ExampleCollector, as_colours
from classifier_training.models.predictions import PredictionCollector
from classifier_training.types import Preprocessing


def make_images(number: int) -> Tensor:
    """Image n is n everywhere."""
    return torch.arange(number, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 4, 4)


def numbers(images: Tensor) -> list[int]:
    return images[:, 0, 0, 0].int().tolist()


@pytest.mark.parametrize("batch_size", [1, 4, 40])
def test_it_keeps_what_a_look_at_all_images_would_choose(batch_size: int) -> None:
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(40, 3, generator=generator), torch.randint(3, (40,), generator=generator)
    kept, images = ExampleCollector(5), make_images(40)
    for start in range(0, 40, batch_size):
        some = slice(start, start + batch_size)
        kept.update(images[some], logits[some], labels[some])
    found = kept.compute()
    probabilities = logits.softmax(1)
    losses, predicted = torch.nn.functional.cross_entropy(logits, labels, reduction="none"), logits.argmax(1)
    worst = sorted((n for n in range(40) if predicted[n] != labels[n]), key=lambda n: -losses[n])[:5]
    assert numbers(found["samples"].images) == [0, 1, 2, 3, 4]
    assert numbers(found["worst"].images) == worst
    assert numbers(found["least_certain"].images) == probabilities.amax(1).argsort()[:5].tolist()
    assert found["worst"].predictions.labels.tolist() == labels[worst].tolist()
    assert found["worst"].predictions.predicted.tolist() == predicted[worst].tolist()
    np.testing.assert_allclose(found["worst"].predictions.losses, losses[worst], rtol=1e-5)
    np.testing.assert_allclose(found["worst"].predictions.confidence, probabilities.amax(1)[worst], rtol=1e-5)


def test_correct_predictions_are_not_errors_and_images_without_labels_are_not_shown() -> None:
    kept = ExampleCollector(5)
    kept.update(make_images(3), torch.eye(3), torch.tensor([0, 1, -100]))
    found = kept.compute()
    assert numbers(found["worst"].images) == []
    assert numbers(found["samples"].images) == [0, 1]
    assert sorted(numbers(found["least_certain"].images)) == [0, 1]


def test_images_of_another_size_and_no_images_do_no_harm() -> None:
    kept = ExampleCollector(5)
    assert kept.compute() == {}
    kept.update(make_images(2), torch.eye(2), torch.tensor([0, 1]))
    kept.update(torch.zeros(1, 3, 8, 8), torch.eye(2)[:1], torch.tensor([0]))
    assert len(kept.compute()["samples"].images) == 2


def test_what_was_normalised_gets_its_colours_back() -> None:
    preprocessing = Preprocessing(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.1))
    pixels = torch.randint(256, (2, 3, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = pixels.permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(as_colours(normalize_images(pixels, preprocessing), preprocessing), expected)
    np.testing.assert_array_equal(as_colours(pixels, preprocessing), expected)
    np.testing.assert_array_equal(as_colours(pixels / 255, None), expected)


def test_unknown_values_are_stretched_and_grey_has_three_channels() -> None:
    colours = as_colours(torch.tensor([-2.0, 0.0, 2.0, torch.nan]).view(1, 1, 2, 2)[..., :], None)
    assert colours.shape == (1, 2, 2, 3)
    colours = as_colours(torch.tensor([-2.0, 0.0, 2.0, 2.0]).view(1, 1, 2, 2), None)
    assert colours[0, :, :, 0].tolist() == [[0, 128], [255, 255]]


def test_a_model_without_errors_has_no_image_of_one() -> None:
    kept = ExampleCollector(5)
    kept.update(torch.rand(3, 3, 4, 4), torch.eye(3), torch.tensor([0, 1, 2], dtype=torch.uint8))
    assert as_colours(kept.compute()["worst"].images, None).shape == (0, 4, 4, 3)


def test_logits_that_are_no_numbers_are_predicted_as_in_the_tables() -> None:
    logits = torch.tensor([[torch.nan, 1.0, 9.0], [torch.nan] * 3, [torch.inf, 0.0, 0.0]])
    labels = torch.tensor([2, 0, 1])
    kept, collector = ExampleCollector(5), PredictionCollector()
    kept.update(make_images(3), logits, labels)
    collector.update(logits, labels, torch.arange(3))
    samples, told = kept.compute()["samples"], collector.compute()

    assert told is not None
    assert samples.predictions.predicted.tolist() == told.predicted.tolist() == [2, 0, 0]
    np.testing.assert_array_equal(samples.predictions.confidence, told.confidence)
    np.testing.assert_array_equal(samples.predictions.losses, told.losses)
