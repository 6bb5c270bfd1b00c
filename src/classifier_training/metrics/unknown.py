"""Scores of how little an image is like those that a model was trained on; the higher, the less it is known.

Letters: N images, K classes, D features, M reference images, Q components.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

UnknownKind = Literal["energy", "max_logit", "pca_residual", "knn"]
KINDS: Final[tuple[UnknownKind, ...]] = get_args(UnknownKind)
"""From the one that needs nothing besides the logits to the one that needs features of many images."""
ARRAYS: Final[Mapping[UnknownKind, tuple[str, ...]]] = {
    "energy": (),
    "max_logit": (),
    "pca_residual": ("mean", "basis"),
    "knn": ("bank",),
}
"""The arrays that a kind needs."""
EXPLAINED: Final = 0.9
"""Share of the variance of the reference features that the components of ``pca_residual`` have."""
MAX_COMPONENTS: Final = 256
MAX_NEIGHBOURS: Final = 50
_LEAST_LENGTH: Final = 1e-12
_BLOCK: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class UnknownScore:
    """A score with what it needs.

    Attributes:
        kind: Which score.
        neighbours: k of ``knn``.
        arrays: float32, by the names of `ARRAYS`: ``mean`` (D,) and ``basis`` (D, Q) with orthonormal columns, or
            ``bank`` (M, D) with rows of length 1.

    Raises:
        ValueError: The arrays are not those of the kind, or have other shapes.
    """

    kind: UnknownKind
    neighbours: int = 1
    arrays: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS or set(self.arrays) != set(ARRAYS[self.kind]):
            raise ValueError(f"an unknown score {self.kind!r} with the arrays {sorted(self.arrays)} is not possible")
        shapes = [array.shape for array in self.arrays.values()]
        if self.kind == "pca_residual":
            (mean, basis) = (self.arrays["mean"], self.arrays["basis"])
            if mean.ndim != 1 or basis.ndim != 2 or len(mean) != len(basis):
                raise ValueError(f"arrays of pca_residual of the shapes {shapes} are not possible")
        if self.kind == "knn" and (self.arrays["bank"].ndim != 2 or not 1 <= self.neighbours <= shapes[0][0]):
            raise ValueError(f"{self.neighbours} neighbours and a bank of the shape {shapes[0]} are not possible")

    @property
    def needs_features(self) -> bool:
        """Whether the score depends on the features, and not on the logits alone."""
        return bool(self.arrays)

    def __call__(
        self, logits: NDArray[np.floating[Any]], features: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """float32 (N,) of logits (N, K), without temperature, and features (N, D), which `needs_features` asks for."""
        if self.kind == "energy":
            return energy(logits)
        if self.kind == "max_logit":
            return max_logit(logits)
        if features is None:
            raise ValueError(f"the unknown score {self.kind} needs features")
        if self.kind == "knn":
            return neighbour_distance(features, self.arrays["bank"], self.neighbours)
        return pca_residual(features, self.arrays["mean"], self.arrays["basis"])


def fit_unknown_score(kind: UnknownKind, features: NDArray[np.float32] | None, num_classes: int) -> UnknownScore:
    """A score with what it needs of the features of M training images, float32 (M, D)."""
    if not ARRAYS[kind]:
        return UnknownScore(kind)
    if features is None:
        raise ValueError(f"the unknown score {kind} needs features")
    if kind == "knn":
        neighbours = len(features) // (10 * num_classes)  # a tenth of the images of a class
        return UnknownScore(kind, min(max(1, neighbours), MAX_NEIGHBOURS, len(features)), {"bank": unit(features)})
    mean, basis = principal_components(features)
    return UnknownScore(kind, arrays={"mean": mean, "basis": basis})


def energy(logits: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """−log Σ exp z of logits z (N, K): float32 (N,).

    Source: W. Liu et al., "Energy-based out-of-distribution detection", NeurIPS 2020, at a temperature of 1.
    """
    values = np.asarray(logits, np.float64)
    most = values.max(axis=1)
    return np.asarray(-(most + np.log(np.exp(values - most[:, None]).sum(axis=1))), np.float32)


def max_logit(logits: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """−max z of logits z (N, K): float32 (N,).

    Source: D. Hendrycks et al., "Scaling out-of-distribution detection for real-world settings", ICML 2022.
    """
    return np.asarray(-np.asarray(logits).max(axis=1), np.float32)


def neighbour_distance(
    features: NDArray[np.float32], bank: NDArray[np.float32], neighbours: int
) -> NDArray[np.float32]:
    """1 − cosine similarity of features (N, D) to the k-th most similar row of a bank (M, D): float32 (N,), in [0, 2].

    It is half the square of the distance on the unit sphere, and sorts images as that does. Source: Y. Sun et al.,
    "Out-of-distribution detection with deep nearest neighbors", ICML 2022.

    Args:
        features: Of the images.
        bank: Of training images, each row of length 1.
        neighbours: k, from 1 to M.
    """
    found = np.empty(len(features), np.float32)
    for start in range(0, len(features), _BLOCK):
        similarity = unit(features[start : start + _BLOCK]) @ bank.T
        found[start : start + _BLOCK] = 1 - np.partition(similarity, -neighbours, axis=1)[:, -neighbours]
    return found


def pca_residual(
    features: NDArray[np.float32], mean: NDArray[np.float32], basis: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Length of what principal components leave of features (N, D): float32 (N,).

    Source: the residual of H. Wang et al., "ViM: out-of-distribution with virtual-logit matching", CVPR 2022, around
    the mean of the training features.

    Args:
        features: Of the images.
        mean: float32 (D,), of the training images.
        basis: float32 (D, Q), orthonormal columns.
    """
    centred = np.asarray(features, np.float32) - mean
    left = centred - (centred @ basis) @ basis.T
    return np.asarray(np.sqrt(np.square(left).sum(axis=1)), np.float32)


def principal_components(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean (D,), and the fewest directions (D, Q) that have `EXPLAINED` of the variance of features (M, D).

    They are at most half as many as there are features or images, so that something is left of other images.
    """
    values = np.asarray(features, np.float64)
    mean = values.mean(axis=0)
    centred = values - mean
    is_wide = centred.shape[1] > centred.shape[0]
    squares, vectors = np.linalg.eigh(centred @ centred.T if is_wide else centred.T @ centred)
    squares, vectors = squares[::-1].clip(min=0), vectors[:, ::-1]
    total = squares.sum()
    enough = int(np.searchsorted(np.cumsum(squares), EXPLAINED * total)) + 1 if total > 0 else 1
    count = max(1, min(enough, MAX_COMPONENTS, min(centred.shape) // 2))
    basis = vectors[:, :count]
    if is_wide:
        basis = centred.T @ basis
        basis = np.linalg.qr(basis)[0]
    return mean.astype(np.float32), np.ascontiguousarray(basis, np.float32)


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (N, D) of length 1 in each row; a row of zeros stays as it is."""
    values = np.asarray(features, np.float32)
    lengths = np.sqrt(np.square(values).sum(axis=1, keepdims=True))
    return np.asarray(values / np.maximum(lengths, np.float32(_LEAST_LENGTH)), np.float32)


def auroc(known: NDArray[np.floating[Any]], unknown: NDArray[np.floating[Any]]) -> float:
    """The probability that an unknown image scores higher than a known one, ties counting half; each has one at least.

    The area under the curve of true over false positives, by the rank statistic of Mann and Whitney.
    """
    order = np.sort(known)
    below = np.searchsorted(order, unknown, side="left")
    not_above = np.searchsorted(order, unknown, side="right")
    return float((below + not_above).sum(dtype=np.float64) / (2 * len(known) * len(unknown)))
