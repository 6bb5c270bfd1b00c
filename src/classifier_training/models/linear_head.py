"""Multinomial logistic regression on features: the head of a frozen backbone, without a step of gradient descent.

    min over W, b of   Σ_i w_i · −log softmax(W z_i + b)_{y_i}  +  ‖W‖² / (2 C)

with z the standardised features and C the strength at which the data pull against the penalty, as in scikit-learn. C
is chosen by cross-validation, by the log-loss of images that a fit has not seen: the smallest one whose log-loss is
within a standard error of the least (the one-standard-error rule of Breiman et al. 1984, ``lambda.1se`` of glmnet). New
images differ more from the training images than these among themselves, and a stronger penalty forgives that; the more
images, the less it matters. L-BFGS (Liu and Nocedal 1989) is
deterministic: equal features give equal bits.

Letters: N images, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classifier_training.errors import ModelError
from classifier_training.models.precision import exact_float32

STRENGTHS: Final = tuple(10.0**exponent for exponent in range(-4, 3))
"""Values of C that are tried, from the strongest penalty on; then those half-way to the neighbours of the best."""
DEFAULT_STRENGTH: Final = 0.01
"""C where nothing can be held out."""
_DOUBLE_ELEMENTS: Final = 2**27
"""Features up to so many numbers get their final fit in float64 on a CPU."""
_MOST_SEARCHED: Final = 2_000_000_000
"""Images times features times classes of the cross-validation at most: of more images, every n-th takes part."""
_ROUGH: Final = 1e-3
"""Largest gradient of the mean loss at which a fit of the cross-validation ends."""
_BLOCK_BYTES: Final = 2**28
_LEAST_DEVIATION: Final = 1e-6
"""A feature that varies less, relative to its size, is a constant, and gets no weight."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What cross-validation found for one strength.

    Attributes:
        strength: C.
        log_loss: Mean over the images held out.
        top1: Share of them that was predicted correctly.
        standard_error: Of the log-loss.
    """

    strength: float
    log_loss: float
    top1: float
    standard_error: float = 0.0


@dataclass(frozen=True, slots=True)
class LinearHead:
    """A fitted head, on features as they come.

    Attributes:
        weight: float32 (K, D).
        bias: float32 (K,).
        strength: C.
        log_loss: Mean of the training images, weighted.
        curve: What the cross-validation found, by strength; empty where nothing could be held out.
        num_held_out: Images that were held out once.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    strength: float
    log_loss: float
    curve: tuple[CurvePoint, ...] = ()
    num_held_out: int = 0

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 (N, K) of features float32 (N, D)."""
        return features @ self.weight.T + self.bias


@dataclass(frozen=True, slots=True)
class HeadProblem:
    """What a head is fitted to.

    Attributes:
        features: float32 (N, D).
        labels: int64 (N,).
        num_classes: K.
        weights: float64 (N,), ≥ 0, weight of each image; only their ratios count. None: all equal.
        offset: float32 (K,), added to the logits of training images alone, for logit adjustment; None: zeros.
        folds: int64 (N,), the fold in which an image is held out, -1 for never; None: nothing is held out.
        num_images: How many images the data count for, against the penalty; None: N. Views of one image share it.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    num_classes: int
    weights: NDArray[np.float64] | None = None
    offset: NDArray[np.float32] | None = None
    folds: NDArray[np.int64] | None = None
    num_images: int | None = None


def fit_linear_head(
    problem: HeadProblem,
    *,
    device: torch.device | None = None,
    strengths: Sequence[float] = STRENGTHS,
    check_stop: Callable[[], None] = lambda: None,
    progress: Callable[[int, int], None] | None = None,
) -> LinearHead:
    """Chooses C by cross-validation and fits the head to all images.

    Args:
        problem: The features and what is known of their images.
        device: Where to compute; None: the CPU.
        strengths: Values of C to try, ascending.
        check_stop: Called after each fit, and may raise to stop.
        progress: Called after each fit of the cross-validation with their number so far, and the most there may be.

    Raises:
        ModelError: There is nothing to fit.
    """
    if not len(problem.labels) or (problem.weights is not None and not (problem.weights > 0).any()):
        raise ModelError("there is no image with a weight above 0 to fit a head to")
    with exact_float32(), torch.inference_mode():
        on = device or torch.device("cpu")
        curve = _Solver(_for_search(problem), on, check_stop, torch.float32).cross_validate(strengths, progress)
        best = choose_strength(curve) if curve else DEFAULT_STRENGTH
        is_double = on.type == "cpu" and problem.features.size <= _DOUBLE_ELEMENTS
        solver = _Solver(problem, on, check_stop, torch.float64 if is_double else torch.float32)
        theta = solver.fit(best, solver.weights, solver.zeros())
        loss = solver.log_loss(theta)
        weight, bias = solver.unscaled(theta)
    folds = _for_search(problem).folds
    held_out = 0 if folds is None or not curve else int((folds >= 0).sum())
    return LinearHead(weight, bias, best, loss, tuple(curve), held_out)


def fit_rough_head(problem: HeadProblem, strength: float = DEFAULT_STRENGTH) -> LinearHead:
    """Fits a head with a given C on the CPU, as exactly as those of the cross-validation: for what it is to show."""
    with exact_float32(), torch.inference_mode():
        solver = _Solver(problem, torch.device("cpu"), lambda: None, torch.float32)
        theta = solver.fit(strength, solver.weights, solver.zeros(), tolerance=_ROUGH)
        weight, bias = solver.unscaled(theta)
        return LinearHead(weight, bias, strength, solver.log_loss(theta))


def choose_strength(curve: Sequence[CurvePoint]) -> float:
    """The smallest C whose log-loss is within a standard error of the least."""
    least = min(curve, key=lambda point: point.log_loss)
    return min(one.strength for one in curve if one.log_loss <= least.log_loss + least.standard_error)


def held_out_folds(labels: NDArray[np.int64], folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Folds int64 (N,) with -1, never held out, for the images of a class that is in one fold alone.

    A fit without that fold would not know the class, and its loss would hide what the other images say.
    """
    pairs = np.unique(np.stack([labels, folds])[:, folds >= 0], axis=1)
    is_spread = np.bincount(pairs[0], minlength=int(labels.max(initial=0)) + 1) > 1
    return np.where(is_spread[labels], folds, -1)


def _for_search(problem: HeadProblem) -> HeadProblem:
    """What cross-validation looks at."""
    if problem.folds is None:
        return problem
    step = -(-problem.features.size * problem.num_classes // _MOST_SEARCHED)
    labels = problem.labels[::step]
    return replace(
        problem,
        features=problem.features[::step],
        labels=labels,
        weights=None if problem.weights is None else problem.weights[::step],
        folds=held_out_folds(labels, problem.folds[::step]),
        num_images=max(1, (problem.num_images or len(problem.labels)) // step),
    )


@dataclass
class _Solver:
    """The features on the device, and L-BFGS on them. Parameters are θ (K, D + 1): weights, then the bias."""

    problem: HeadProblem
    device: torch.device
    check_stop: Callable[[], None]
    dtype: torch.dtype
    labels: Tensor = field(init=False)
    weights: Tensor = field(init=False)

    def __post_init__(self) -> None:
        features = self.problem.features
        given = self.problem.weights
        weights = np.ones(len(features)) if given is None else given
        self.mean, self.deviation = _moments(features, weights)
        self.labels = torch.from_numpy(self.problem.labels).to(self.device)
        num_images = self.problem.num_images or len(features)
        self.weights = self._tensor(weights / weights.sum() * num_images)
        self.offset = None if self.problem.offset is None else self._tensor(self.problem.offset)
        size = 4 if self.dtype == torch.float32 else 8
        self.block = max(1, _BLOCK_BYTES // (size * (features.shape[1] + 2 * self.problem.num_classes)))
        self.resident: list[Tensor] | None = None
        if features.size * size <= _room(self.device):
            self.resident = [block for _, block in self._blocks()]

    def zeros(self) -> Tensor:
        """θ to start from."""
        shape = self.problem.num_classes, self.problem.features.shape[1] + 1
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    def fit(self, strength: float, weights: Tensor, start: Tensor, *, tolerance: float = 1e-8) -> Tensor:
        """θ of least loss, by L-BFGS from ``start``."""
        theta = torch.nn.Parameter(start.clone(), requires_grad=False)
        total = float(weights.sum())
        least = 1e-8 if self.dtype == torch.float64 else 1e-6  # below it is rounding
        optimizer = torch.optim.LBFGS(
            [theta],
            max_iter=500,
            tolerance_grad=max(tolerance, least),
            tolerance_change=least**2,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            loss, gradient = self._loss(theta, weights)
            body = theta[:, :-1]
            gradient[:, :-1] += body / strength
            theta.grad = gradient / total
            return (loss + body.square().sum() / (2 * strength)) / total

        cast("Any", optimizer).step(closure)
        self.check_stop()
        return theta.detach()

    def cross_validate(
        self, strengths: Sequence[float], progress: Callable[[int, int], None] | None
    ) -> list[CurvePoint]:
        """The curve up to the first rise behind its minimum, and around that; empty where nothing can be held out."""
        folds = self.problem.folds
        numbers = [] if folds is None else sorted(set(np.unique(folds).tolist()) - {-1})
        if folds is None or len(numbers) < 2:
            return []
        of_image = torch.from_numpy(folds).to(self.device)
        thetas = {number: self.zeros() for number in numbers}  # each fit starts from the last one of its fold
        curve: list[CurvePoint] = []
        most = (len(strengths) + 2) * len(numbers)

        def try_strength(strength: float) -> None:
            sums = np.zeros(4)
            for at, number in enumerate(numbers):
                held_out = of_image == number
                thetas[number] = self.fit(strength, self.weights * ~held_out, thetas[number], tolerance=_ROUGH)
                sums += self._score(thetas[number], self.weights * held_out)
                if progress is not None:
                    progress(len(curve) * len(numbers) + at + 1, most)
            curve.append(_curve_point(strength, sums))

        for strength in strengths:
            try_strength(strength)
            if len(curve) > 1 and curve[-1].log_loss > curve[-2].log_loss:
                break
        best = min(range(len(curve)), key=lambda one: curve[one].log_loss)
        between = [(curve[at].strength * curve[at + 1].strength) ** 0.5 for at in (best, best - 1)
                   if 0 <= at < len(curve) - 1]  # fmt: skip
        for strength in between:
            try_strength(strength)
        return sorted(curve, key=lambda point: point.strength)

    def log_loss(self, theta: Tensor) -> float:
        """Mean loss of the training images."""
        loss, _, weight, *_ = self._score(theta, self.weights)
        return loss / weight

    def unscaled(self, theta: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights and bias on features as they come."""
        found = theta.double().cpu().numpy()
        weight = found[:, :-1] / self.deviation
        bias = found[:, -1] - weight @ self.mean
        return weight.astype(np.float32), (bias - bias.mean()).astype(np.float32)

    def _loss(self, theta: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of the losses, and its gradient (K, D + 1)."""
        total, gradient = theta.new_zeros(()), torch.zeros_like(theta)
        for first, features in self._blocks():
            rows = slice(first, first + len(features))
            labels, weight = self.labels[rows, None], weights[rows, None]
            logs = self._log_probabilities(theta, features)
            total -= (logs.gather(1, labels) * weight).sum()
            error = logs.exp_()
            error.scatter_add_(1, labels, torch.full_like(weight, -1.0))
            error *= weight
            gradient[:, :-1] += error.T @ features
            gradient[:, -1] += error.sum(dim=0)
        return total, gradient

    def _score(self, theta: Tensor, weights: Tensor) -> tuple[float, float, float, float]:
        """Sums over images, all weighted: of losses, of correct ones, of weights, of squared losses."""
        losses = hits = squares = 0.0
        for first, features in self._blocks():
            rows = slice(first, first + len(features))
            logs = self._log_probabilities(theta, features)
            right = logs.argmax(dim=1) == self.labels[rows]
            each = -logs.gather(1, self.labels[rows, None])[:, 0]
            losses += float((each * weights[rows]).sum())
            squares += float((each.square() * weights[rows]).sum())
            hits += float((right * weights[rows]).sum())
        return losses, hits, float(weights.sum()), squares

    def _log_probabilities(self, theta: Tensor, features: Tensor) -> Tensor:
        logits = torch.addmm(theta[:, -1], features, theta[:, :-1].T)
        if self.offset is not None:
            logits += self.offset
        return torch.log_softmax(logits, dim=1)

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        """The standardised features, block by block, with the number of the first row."""
        if self.resident is not None:
            for number, block in enumerate(self.resident):
                yield number * self.block, block
            return
        mean, deviation = self._tensor(self.mean), self._tensor(self.deviation)
        for first in range(0, len(self.problem.features), self.block):
            rows = np.array(self.problem.features[first : first + self.block])  # a copy: torch wants to write
            yield first, (torch.from_numpy(rows).to(self.device).to(self.dtype) - mean) / deviation

    def _tensor(self, values: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(np.array(values)).to(self.dtype).to(self.device)


def _curve_point(strength: float, sums: NDArray[np.float64]) -> CurvePoint:
    """What the sums of all folds, as of `_Solver._score`, say of a strength."""
    loss, top1, square = (float(one) for one in sums[[0, 1, 3]] / sums[2])
    return CurvePoint(strength, loss, top1, (max(0.0, square - loss**2) / max(1.0, float(sums[2]))) ** 0.5)


def _moments(
    features: NDArray[np.float32], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean and deviation of each feature, float64 (D,); the deviation of a constant is 1."""
    total, step = weights.sum(), max(1, _BLOCK_BYTES // (8 * features.shape[1]))
    starts = range(0, len(features), step)
    mean = sum(weights[at : at + step] @ features[at : at + step].astype(np.float64) for at in starts) / total
    squares = sum(
        weights[at : at + step] @ np.square(features[at : at + step].astype(np.float64) - mean) for at in starts
    )
    deviation = np.sqrt(squares / total)
    is_constant = deviation <= _LEAST_DEVIATION * np.maximum(np.abs(mean), _LEAST_DEVIATION)
    return mean, np.where(is_constant, 1.0, deviation)


def _room(device: torch.device) -> int:
    """Bytes of standardised features that the device may hold."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] // 2)
    import psutil

    return int(psutil.virtual_memory().available // 4)
