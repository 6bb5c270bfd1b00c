from __future__ import annotations

import numpy as np
import pytest
from tests.helpers.markup import read_markup
from tests.helpers.run_folders import HOSTILE_NAMES

from classifier_training.pages.charts.matrix import STRONGEST, matrix_chart


def test_a_count_is_in_its_cell() -> None:
    drawn = read_markup(matrix_chart(np.array([[3, 1], [0, 0]]), ["cat", "dog"], "title", "words"))

    right, wrong = drawn.all("rect", "cell")
    assert (right.attributes["x"], right.attributes["y"]) == ("0", "0")
    assert right.classes == ["cell", "correct"]
    assert wrong.classes == ["cell", "wrong"]
    assert float(wrong.attributes["x"]) == float(right.attributes["width"])
    assert wrong.attributes["y"] == "0"
    assert float(right.attributes["fill-opacity"]) > float(wrong.attributes["fill-opacity"])
    assert [one.text for one in drawn.all("text", "cell-count")] == ["3", "1"]


def test_a_full_row_has_the_strongest_colour() -> None:
    drawn = read_markup(matrix_chart(np.eye(2, dtype=np.int64), ["a", "b"], "title", "words"))

    assert {float(cell.attributes["fill-opacity"]) for cell in drawn.all("rect", "cell")} == {STRONGEST}


def test_names_are_text_and_short() -> None:
    size = len(HOSTILE_NAMES)
    drawn = read_markup(matrix_chart(np.eye(size, dtype=np.int64), HOSTILE_NAMES, "title", "words"))

    names = [one.text for one in drawn.all("text", "matrix-name")]
    assert len(names) == 2 * size
    assert max(map(len, names)) <= 18
    assert {one.tag for one in drawn.elements} == {"svg", "title", "desc", "text", "line", "rect"}


@pytest.mark.parametrize(("num_classes", "are_written"), [(30, True), (31, False)])
def test_numbers_are_left_out_where_they_have_no_room(num_classes: int, are_written: bool) -> None:
    names = [f"class {number}" for number in range(num_classes)]
    drawn = read_markup(matrix_chart(np.eye(num_classes, dtype=np.int64), names, "title", "words"))

    assert bool(drawn.all("text", "cell-count")) is are_written
    assert len(drawn.all("rect", "cell")) == num_classes
