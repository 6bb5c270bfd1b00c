from __future__ import annotations

from classifier_training.files.text import plain_text


def test_bytes_of_a_file_name_that_are_not_utf8_become_escapes() -> None:
    assert plain_text("caf\udce9.jpg") == r"caf\udce9.jpg"
    assert plain_text("caf\u00e9 \u6625") == "caf\u00e9 \u6625"
