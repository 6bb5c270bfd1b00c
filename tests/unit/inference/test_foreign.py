"""What is said of an ONNX file of another program is read, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier_training.errors import UserError
from classifier_training.inference.card import DeploymentCard, read_preprocessing
from classifier_training.inference.foreign import Description, as_logits, described_card, read_description
from classifier_training.types import Preprocessing

VALUES = Preprocessing(image_size=32, interpolation="bilinear").to_dict()
FILE = Path("model.onnx")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "red\n blue sky \ngreen\n\n"),
        ("a.names", "\ufeffred\r\nblue sky\r\ngreen"),
        ("a.json", '["red", "blue sky", "green"]'),
        ("a.json", '{"green": 2, "red": 0, "blue sky": 1}'),
        ("a.json", '{"0": "red", "2": "green", "1": "blue sky"}'),
        ("a.json", '{"class_to_idx": {"green": 2, "red": 0, "blue sky": 1}}'),
    ],
)
def test_class_names(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())

    description = read_description(tmp_path / name, None)

    assert description == Description(("red", "blue sky", "green"), None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "must have the name of a class on every line, or be a JSON list of names"),
        ("a.txt", "red\n\nblue", "must have the name of a class on every line"),
        ("a.txt", "red\nred", "names the class 'red' twice"),
        ("a.json", "[1, 2]", "must have the name of a class on every line"),
        ("a.json", '{"a": 0, "b": 2}', "must number the classes from 0 without gaps"),
        ("a.json", '{"0": "a", "x": "b"}', "must have the name of a class on every line"),
        ("a.json", "{", "is not JSON: "),
        ("a.json", "7", "must have the name of a class on every line"),
        ("a.txt", b"\xff\xfe", "cannot be read: it is not UTF-8 text"),
        (None, "", "there is no such file"),
    ],
)
def test_class_names_that_cannot_be_used(tmp_path: Path, name: str | None, text: str | bytes, message: str) -> None:
    path = tmp_path / (name or "none.txt")
    if name is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(UserError, match=message) as caught:
        read_description(path, None)

    assert str(caught.value).startswith(f"--labels {path}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [VALUES, {"preprocessing": VALUES}, {"pretrained_cfg": {**VALUES, "image_size": 0, "input_size": [3, 32, 32]}}],
)
def test_preprocessing_as_text_and_as_a_file(tmp_path: Path, values: dict[str, Any]) -> None:
    if "pretrained_cfg" in values:  # timm calls the size otherwise
        del values["pretrained_cfg"]["image_size"]
    (tmp_path / "a.json").write_text(json.dumps(values))
    wanted = DeploymentCard(("a", "b"), Preprocessing(image_size=32, interpolation="bilinear"))

    for given in (json.dumps(values), tmp_path / "a.json"):
        description = read_description(None, given)
        assert description is not None
        complete = Description(("a", "b"), description.preprocessing)
        assert described_card(complete, None, FILE, "H") == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none.json", "--preprocessing none.json: there is no such file"),
        ("{", "--preprocessing is not JSON: "),
        ('{"image_size": 32}', "--preprocessing: preprocessing.crop_pct is None, which is not possible"),
        (json.dumps({**VALUES, "interpolation": "area"}), "is 'area', .*; allowed: nearest, bilinear, bicubic"),
    ],
)
def test_preprocessing_that_cannot_be_used(given: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        described_card(Description(("a",), (read_description(None, given) or Description(None, None)).preprocessing),
                       None, FILE, 32)  # fmt: skip
    assert "\n" not in str(caught.value)


def test_both_are_needed_unless_the_file_has_them() -> None:
    own = DeploymentCard(("a", "b"), Preprocessing())

    assert read_description(None, None) is None
    with pytest.raises(UserError, match=r"model.onnx says nothing .* give --preprocessing JSON, too"):
        described_card(Description(("a",), None), None, FILE, 32)
    with pytest.raises(UserError, match=r"model.onnx says nothing .* give --labels FILE, too"):
        described_card(Description(None, VALUES), None, FILE, 32)
    with pytest.raises(UserError, match="has class names and preprocessing of its own; leave --labels"):
        described_card(Description(("a",), VALUES), own, FILE, 32)


def test_the_size_may_be_that_of_the_input() -> None:
    values = {name: value for name, value in VALUES.items() if name != "image_size"}

    assert described_card(Description(("a",), values), None, FILE, 48).preprocessing.image_size == 48


def test_probabilities_become_logits() -> None:
    logits = np.array([[2.0, 0, -1], [0, 0, 5]], np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    np.testing.assert_array_equal(as_logits(logits), logits)
    found = as_logits(probabilities)
    np.testing.assert_allclose(found - found[:, :1], logits - logits[:, :1], atol=1e-5)
    assert np.isfinite(as_logits(np.array([[1.0, 0, 0]], np.float32))).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_size": 10**6}, "preprocessing.image_size is 1000000, .* whole number from 1 to 8192"),
        ({"image_size": 10**400}, "preprocessing.image_size is 1000000"),
        ({"crop_pct": 1e-9}, "preprocessing.crop_pct is 1e-09, which is not possible"),
        ({"image_size": 8000, "crop_pct": 0.1}, "resizes the shorter side of an image to 80000 pixels .* at most 8192"),
        ({"mean": [float("nan"), 0, 0]}, r"preprocessing.mean is \[nan, 0, 0\], which is not possible"),
        ({"std": [10**400, 1, 1]}, "preprocessing.std is "),
        ({"max_image_pixels": -1}, "preprocessing.max_image_pixels is -1"),
    ],
)
def test_absurd_sizes_are_refused_before_an_image_is_touched(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_preprocessing({**VALUES, **changed}, "model.onnx")

    assert len(str(caught.value)) < 300
