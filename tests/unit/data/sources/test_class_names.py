from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.web import serve

from classifier_training.data.sources.class_names import ClassNames, find_class_names, with_class_names
from classifier_training.data.sources.listing import RowWriter
from classifier_training.errors import DataError


def find(folder: Path) -> tuple[str, ...] | None:
    found = find_class_names(str(folder), folder / "cache")
    return None if found is None else found.names


def named(labels: list[str], names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    rows = RowWriter()
    rows.add("x.tar", [f"{number}.jpg" for number in range(len(labels))], labels)
    table, warnings = with_class_names(rows.table(), ClassNames(Path("classes.txt"), names))
    return table.column("label").to_pylist(), warnings


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "cat\ndog\n é \n"),
        ("classnames.txt", "\ufeffcat\r\ndog\r\n é "),
        ("classes.json", '["cat", "dog", " é "]'),
        ("classes.json", '{"0": "cat", "2": " é ", "1": "dog"}'),
        ("classes.json", '{" é ": 2, "cat": 0, "dog": 1}'),
        ("labels_mapping.json", json.dumps({"num_classes": 3, "class_to_idx": {"cat": 0, "dog": 1, " é ": 2}})),
    ],
)
def test_files_of_class_names(tmp_path: Path, name: str, text: str) -> None:
    assert find(tmp_path) is None

    (tmp_path / name).write_text(text, encoding="utf-8", newline="")

    assert find(tmp_path) == ("cat", "dog", " é ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classes.txt", b"cat\ndog\ncat\n", "names two classes 'cat', the indices 0 and 2; make them differ"),
        ("classes.txt", b"\xff", "is not UTF-8 text"),
        ("classes.json", b"{", "is not JSON"),
        ("classes.json", b"[1, 2]", "holds no class names; expected a list of names"),
        ("classes.json", b'{"0": "cat", "2": "dog"}', "holds no class names"),
        ("classes.json", b'"cat"', "holds no class names"),
        ("classes.json", b"[]", "holds no class names"),
        ("labels_mapping.json", b'{"class_to_idx": {"cat": 1}}', "holds no class names"),
        ("labels_mapping.json", b'{"class_to_idx": 3}', "holds no class names"),
    ],
)
def test_files_that_are_not_class_names(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError) as caught:
        find(tmp_path)

    assert str(caught.value).startswith(f"{tmp_path / name} {message}")


def test_names_at_an_address(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cat\ndog")
    with serve(tmp_path) as web:
        found = find_class_names(web.address, tmp_path / "cache")

    assert found is not None
    assert found.names == ("cat", "dog")
    assert found.path.is_relative_to(tmp_path / "cache")


def test_indices_become_names() -> None:
    assert named(["1", "0", "1"], ("cat", "dog", "eel")) == (["dog", "cat", "dog"], [])


def test_labels_that_are_names_stay_even_if_they_are_numbers() -> None:
    assert named(["10", "1"], ("1", "10", "2")) == (["10", "1"], [])


@pytest.mark.parametrize("labels", [["n01440764"], ["007"], ["1", "x"], ["-1"], ["1.0"], ["１"]])
def test_labels_that_are_not_indices_stay_with_a_warning(labels: list[str]) -> None:
    assert named(labels, ("cat", "dog")) == (labels, ["classes.txt is not used: the labels are text and not indices"])


def test_an_index_without_a_name_is_reported_with_its_image() -> None:
    with pytest.raises(
        DataError, match=r"^x\.tar::1\.jpg has the label 2, and classes\.txt has names for 0 to 1 only$"
    ):
        named(["1", "2", "0", "2"], ("cat", "dog"))


def test_no_images() -> None:
    assert named([], ("cat",)) == ([], [])
