from __future__ import annotations

import pytest

from classifier_training.config.options import option_table
from classifier_training.config.values import UnreadableValueError, compose_yaml, from_node, read_typed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("+3", 3),
        ("3.0", 3.0),
        ("1e-4", 1e-4),
        ("1.", 1.0),
        (".5", 0.5),
        ("1E3", 1000.0),
        ("True", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("007", 7.0),
        ("1:20", "1:20"),
        ("0x1F", "0x1F"),
        ("yes", "yes"),
        ("2024-01-02", "2024-01-02"),
        ("nan", "nan"),
        ("1__", 1),
    ],
)
def test_a_plain_scalar_is_read_as_what_it_looks_like(text: str, value: object) -> None:
    read = read_typed(text, option_table()["optimizer.lr"])
    assert read == value
    assert type(read) is type(value)


def test_quotes_make_text_of_a_file_s_value() -> None:
    node = compose_yaml("['3', \"true\", 3]")
    assert node is not None
    assert from_node(node) == ["3", "true", 3]


def test_broken_yaml_is_reported_with_its_line() -> None:
    with pytest.raises(UnreadableValueError) as raised:
        compose_yaml("a: 1\nb: [")
    assert raised.value.line == 2
