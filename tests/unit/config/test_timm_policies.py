from __future__ import annotations

import pytest

from classifier_training.config import load_config
from classifier_training.config.arguments import read_overrides
from classifier_training.config.foreign_names import translate
from classifier_training.config.timm_policies import translate_policy


@pytest.mark.parametrize(
    ("text", "assignments"),
    [
        ("rand", []),
        ("rand-m9-mstd0.5-inc1", ["data.randaugment_magnitude=27", "data.randaugment_mstd=1.5"]),
        ("rand-m7-n3", ["data.randaugment_magnitude=21", "data.randaugment_num_ops=3"]),
        ("augmix-m5-w4-d2-a0.5", ["severity=5", "width=4", "depth=2", "alpha=0.5"]),
        ("augmix-m3-w3-d-1", ["severity=3", "width=3"]),
        ("3a", []),
    ],
)
def test_a_policy_of_timms_is_translated(text: str, assignments: list[str]) -> None:
    name = {"r": "randaugment", "a": "augmix", "3": "3augment"}[text[0]]
    expected = [one if one.startswith("data.") else f"data.augmix_{one}" for one in assignments]

    assert translate("aa", text) == [f"data.auto_augment={name}", *expected]
    assert load_config(read_overrides(*(translate("aa", text) or ()))).data.auto_augment == name


@pytest.mark.parametrize("text", ["", "original", "v0r-mstd0.5", "rand-weird", "rand-mstd101", "none", "randaugment"])
def test_another_one_is_not(text: str) -> None:
    assert translate_policy(text) is None
