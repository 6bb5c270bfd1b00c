"""Class and sample weights from class counts: pure functions, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from classifier_training.data.sources.class_names import match_class
from classifier_training.errors import ConfigError
from classifier_training.files.text import NUM_ALLOWED, name_some

Weighting = Literal["inverse", "inverse_sqrt", "effective_number", "manual"]


def class_weights(
    counts: Sequence[int],
    weighting: Weighting = "inverse",
    *,
    beta: float = 0.999,
    manual: Sequence[float] | None = None,
) -> list[float]:
    """Weight of each class, with a mean of 1 over the classes.

    ``inverse`` is 1/n, ``inverse_sqrt`` is 1/√n, ``effective_number`` is (1 − β)/(1 − βⁿ) of Cui et al. 2019,
    "Class-Balanced Loss Based on Effective Number of Samples", for a class of n images.

    Args:
        counts: Number of training images of each class, K integers > 0.
        weighting: How weights follow from counts.
        beta: β of the effective number, in [0, 1).
        manual: The weights themselves for ``manual``, K numbers ≥ 0; they are used as they are.

    Returns:
        K weights.

    Raises:
        ConfigError: A class without images, or manual weights that do not fit.
    """
    if weighting == "manual":
        if manual is None or len(manual) != len(counts) or min(manual) < 0 or max(manual) <= 0:
            raise ConfigError(
                f"data.class_weights must give one number ≥ 0 to each of the {len(counts)} classes, and not 0 to all;"
                f" got {'nothing' if manual is None else list(manual)[:20]}"
            )
        return [float(weight) for weight in manual]
    if min(counts) < 1:
        raise ConfigError(f"class {list(counts).index(min(counts))} has no images, so it has no {weighting} weight")
    if weighting == "inverse":
        raw = [1.0 / count for count in counts]
    elif weighting == "inverse_sqrt":
        raw = [count**-0.5 for count in counts]
    else:
        raw = [(1.0 - beta) / (1.0 - beta**count) for count in counts]
    mean = sum(raw) / len(raw)
    return [weight / mean for weight in raw]


def weights_by_name(classes: Sequence[str], weights: Mapping[str, float]) -> list[float]:
    """Puts weights by class name into class order; white space around names and their Unicode form do not count.

    Raises:
        ConfigError: A class has no weight, or two, or a weight names an unknown class.
    """
    meant = {name: match_class(name, classes) for name in weights}
    by_class: dict[str, float] = {}
    for name, known in meant.items():
        if known in by_class:
            raise ConfigError(f"data.class_weights gives two weights to the class {known!r}; remove one")
        if known is not None:
            by_class[known] = weights[name]
    missing = [name for name in classes if name not in by_class]
    unknown = [name for name, known in meant.items() if known is None]
    if missing or unknown:
        parts = [f"lacks {name_some(map(repr, missing))}"] if missing else []
        no_class = "which is not a class" if len(unknown) == 1 else "which are not classes"
        parts += [f"names {name_some(map(repr, unknown))}, {no_class}"] if unknown else []
        known = name_some(map(repr, classes), NUM_ALLOWED)
        raise ConfigError(f"data.class_weights {' and '.join(parts)}; the classes are {known}")
    return [by_class[name] for name in classes]


def sample_weights(labels: Sequence[int], weights: Sequence[float]) -> list[float]:
    """Weight of each sample: that of its class.

    Args:
        labels: N class indices.
        weights: K class weights.
    """
    return [weights[label] for label in labels]
