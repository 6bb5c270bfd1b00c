from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from classifier_training.data.sampling.weights import class_weights, sample_weights, weights_by_name
from classifier_training.errors import ConfigError

COUNTS = [1, 10, 400, 5000, 3]


def scaled(raw: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
    """With a mean of 1."""
    return list(raw * len(raw) / raw.sum())


def test_inverse_frequency() -> None:
    assert class_weights(COUNTS) == pytest.approx(scaled(1 / np.array(COUNTS)))
    assert class_weights([10, 30], "inverse") == pytest.approx([1.5, 0.5])


def test_inverse_square_root() -> None:
    assert class_weights(COUNTS, "inverse_sqrt") == pytest.approx(scaled(1 / np.sqrt(COUNTS)))
    assert class_weights([1, 4], "inverse_sqrt") == pytest.approx([4 / 3, 2 / 3])


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 0.9999999])
def test_effective_number_of_samples(beta: float) -> None:
    # E_n = 1 + beta + ... + beta^(n-1), the geometric sum of Cui et al. (2019), proposition 1, added up term by term
    effective = np.array([sum(beta**power for power in range(count)) for count in COUNTS])

    assert class_weights(COUNTS, "effective_number", beta=beta) == pytest.approx(scaled(1 / effective), rel=1e-6)


def test_the_effective_number_lies_between_no_and_inverse_weighting() -> None:
    assert class_weights(COUNTS, "effective_number", beta=0.0) == [1.0] * len(COUNTS)
    assert class_weights(COUNTS, "effective_number", beta=1 - 1e-9) == pytest.approx(class_weights(COUNTS), rel=1e-4)


@pytest.mark.parametrize("weighting", ["inverse", "inverse_sqrt", "effective_number"])
def test_the_mean_is_one_and_rarer_weighs_more(weighting: str) -> None:
    weights = class_weights(COUNTS, weighting)  # type: ignore[arg-type]  # the parameters are its literals

    assert sum(weights) / len(weights) == pytest.approx(1)
    assert sorted(weights, reverse=True) == [weights[index] for index in np.argsort(COUNTS)]


def test_manual_weights_are_used_as_they_are() -> None:
    assert class_weights([5, 5, 0], "manual", manual=[2, 0, 0.5]) == [2.0, 0.0, 0.5]


@pytest.mark.parametrize("manual", [None, [], [1.0], [1.0, 2.0, 3.0], [1.0, -1.0], [0.0, 0.0]])
def test_manual_weights_that_do_not_fit(manual: list[float] | None) -> None:
    with pytest.raises(
        ConfigError, match=r"data\.class_weights must give one number ≥ 0 to each of the 2 classes, and not 0"
    ):
        class_weights([5, 5], "manual", manual=manual)


def test_a_class_without_images() -> None:
    with pytest.raises(ConfigError, match="class 1 has no images, so it has no inverse_sqrt weight"):
        class_weights([3, 0], "inverse_sqrt")


def test_weights_by_name_come_in_class_order() -> None:
    assert weights_by_name(["", "00", "b"], {"b": 3.0, "": 1.0, "00": 2.0}) == [1.0, 2.0, 3.0]


def test_names_that_look_alike_are_one_class() -> None:
    assert weights_by_name(["caf\u00e9", "b"], {" b": 3.0, "cafe\u0301": 1.0}) == [1.0, 3.0]
    with pytest.raises(ConfigError, match=r"two weights to the class 'b'; remove one"):
        weights_by_name(["a", "b"], {"a": 1.0, "b": 1.0, "b ": 2.0})


def test_names_that_do_not_fit_are_named() -> None:
    with pytest.raises(ConfigError, match=r"lacks 'b' and names 'c', which is not a class; the classes are 'a', 'b'$"):
        weights_by_name(["a", "b"], {"a": 1.0, "c": 2.0})
    with pytest.raises(ConfigError, match=r"^data\.class_weights lacks 'b'; the classes"):
        weights_by_name(["a", "b"], {"a": 1.0})
    with pytest.raises(ConfigError, match=r"^data\.class_weights names 'x', which"):
        weights_by_name(["a"], {"a": 1.0, "x": 2.0})


def test_many_names_that_do_not_fit_are_counted() -> None:
    weights = {f"x{number:02}": 1.0 for number in range(80)}

    with pytest.raises(ConfigError) as caught:
        weights_by_name([f"c{number:02}" for number in range(50)], weights)

    message = str(caught.value)
    assert "lacks 'c00', 'c01', 'c02' and 47 more and names 'x00', 'x01', 'x02' and 77 more, which are" in message
    assert message.endswith("'c19' and 30 more")


def test_a_sample_weighs_what_its_class_weighs() -> None:
    assert sample_weights([1, 0, 1], [0.5, 2.0]) == [2.0, 0.5, 2.0]


def test_a_balanced_sample_is_equally_likely_for_every_class() -> None:
    labels = [0] * 7 + [1] * 2 + [2]
    weights = np.array(sample_weights(labels, class_weights([7, 2, 1])))

    assert [weights[np.array(labels) == label].sum() for label in range(3)] == pytest.approx([weights.sum() / 3] * 3)


def test_torch_is_not_needed() -> None:
    code = "import sys; import classifier_training.data.sampling.weights; sys.exit('torch' in sys.modules)"
    environment = {"PYTHONPATH": str(Path(__file__).parents[4] / "src")}

    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
