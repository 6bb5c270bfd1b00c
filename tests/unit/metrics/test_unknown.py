from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_ood.detector import KNN, EnergyBased, MaxLogit, ViM
from sklearn.metrics import roc_auc_score

from classifier_training.metrics.unknown import (
    EXPLAINED,
    KINDS,
    UnknownScore,
    auroc,
    energy,
    fit_unknown_score,
    max_logit,
    neighbour_distance,
    pca_residual,
    principal_components,
    unit,
)


def values(rows: int, columns: int, seed: int = 0, scale: float = 1.0) -> Any:
    return (scale * np.random.default_rng(seed).standard_normal((rows, columns))).astype(np.float32)


def test_energy_and_max_logit_are_those_of_pytorch_ood() -> None:
    logits = values(50, 7, scale=10)

    np.testing.assert_allclose(energy(logits), EnergyBased.score(torch.from_numpy(logits)), rtol=1e-6)
    np.testing.assert_array_equal(max_logit(logits), MaxLogit.score(torch.from_numpy(logits)))
    assert np.isfinite(energy(np.array([[1e30, -1e30], [-1e30, -1e30]], np.float32))).all()


@pytest.mark.parametrize("neighbours", [1, 5, 40])
def test_the_distance_to_neighbours_is_that_of_pytorch_ood(neighbours: int) -> None:
    train, images = values(40, 8), values(1100, 8, seed=1)  # more than one block
    reference: Any = KNN(None, k=neighbours).fit_features(torch.from_numpy(train), torch.zeros(40))

    found = neighbour_distance(images, unit(train), neighbours)

    distances = reference.predict_features(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(np.sqrt(2 * found.clip(min=0)), distances, atol=1e-3)
    assert np.isfinite(neighbour_distance(np.zeros((1, 8), np.float32), unit(train), neighbours)).all()


def test_the_residual_is_that_of_vim_around_the_same_origin() -> None:
    train, images, head = values(60, 8) * np.arange(8, 0, -1), values(20, 8, seed=1), values(3, 8, seed=2)
    train = (train - train.mean(axis=0)).astype(np.float32)  # ViM's origin is that of a head without bias
    mean, basis = principal_components(train)
    vim: Any = ViM(None, basis.shape[1], torch.from_numpy(head), torch.zeros(3))
    vim.fit_features(torch.from_numpy(train), torch.zeros(60))
    logits = images @ head.T

    virtual = (vim.predict_features(torch.from_numpy(images)).numpy() - energy(logits)) / float(vim.alpha)

    np.testing.assert_allclose(pca_residual(images, mean, basis), virtual, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(200, 12), (12, 200)])
def test_the_components_have_the_stated_share_of_the_variance(shape: tuple[int, int]) -> None:
    features = values(*shape) / np.arange(1, shape[1] + 1, dtype=np.float32) ** 2

    mean, basis = principal_components(features)

    centred = (features - mean).astype(np.float64)
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-5)
    assert np.square(centred @ basis).sum() >= EXPLAINED * np.square(centred).sum()
    assert np.square(centred @ basis[:, :-1]).sum() < EXPLAINED * np.square(centred).sum()
    constant = principal_components(np.ones((5, 4), np.float32))
    np.testing.assert_allclose(pca_residual(np.ones((2, 4), np.float32), *constant), 0, atol=1e-6)


def test_the_area_is_that_of_scikit_learn_with_ties() -> None:
    generator = np.random.default_rng(0)
    known, unknown = (generator.integers(0, 9, n).astype(np.float64) + shift for n, shift in ((40, 0), (17, 3)))
    truth = np.repeat([0, 1], [40, 17])

    assert auroc(known, unknown) == pytest.approx(roc_auc_score(truth, np.concatenate([known, unknown])))
    assert auroc(np.array([1.0]), np.array([2.0])) == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_images_far_from_those_of_the_training_score_higher(kind: Any) -> None:
    generator = np.random.default_rng(0)
    centres = 5 * np.eye(16, dtype=np.float32)[:4]
    train = centres[np.arange(200) % 4] + values(200, 16)
    known, unknown = centres[generator.integers(0, 4, 100)] + values(100, 16, 1), values(100, 16, 2) + 5 * np.eye(16)[9]
    score = fit_unknown_score(kind, train.astype(np.float32), 4)

    scores = [score(one[:, :4], one.astype(np.float32)) for one in (known, unknown)]

    assert auroc(*scores) > 0.9
    assert scores[0].dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("softmax",), "'softmax' with the arrays [] is not possible"),
        (("knn",), "'knn' with the arrays [] is not possible"),
        (("energy", 1, {"bank": np.zeros((2, 2))}), "'energy' with the arrays ['bank'] is not possible"),
        (("knn", 3, {"bank": np.zeros((2, 2))}), "3 neighbours and a bank of the shape (2, 2)"),
        (("pca_residual", 1, {"mean": np.zeros(3), "basis": np.zeros((2, 1))}), "of the shapes [(3,), (2, 1)]"),
    ],
)
def test_arrays_that_are_not_those_of_a_score_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        UnknownScore(*arguments)


def test_a_score_of_features_asks_for_them() -> None:
    with pytest.raises(ValueError, match="knn needs features"):
        fit_unknown_score("knn", None, 3)
    with pytest.raises(ValueError, match="knn needs features"):
        fit_unknown_score("knn", values(9, 4), 3)(values(2, 3))
