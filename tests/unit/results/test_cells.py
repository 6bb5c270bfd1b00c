from __future__ import annotations

import csv
import io

import pytest
from tests.helpers.scored import NASTY_NAMES

from classifier_training.results.cells import csv_cell


@pytest.mark.parametrize("text", [*NASTY_NAMES, '"', ",", "\r\n"])
def test_a_cell_is_read_as_it_was(text: str) -> None:
    line = f"{csv_cell(text)},{csv_cell(text)}\n"

    assert list(csv.reader(io.StringIO(line, newline=""))) == [[text, text]]


def test_bytes_of_a_file_name_that_are_no_text_can_be_written() -> None:
    assert csv_cell("caf\udce9,.jpg").encode() == rb'"caf\udce9,.jpg"'
