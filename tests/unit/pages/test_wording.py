from __future__ import annotations

from datetime import UTC, datetime

import pytest

from classifier_training.pages.wording import (
    DASH,
    byte_size,
    count,
    decimal,
    large_number,
    listing,
    moment,
    percentage,
)


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.8926, "89.3 %"), (1.0, "100 %"), (0.0, "0 %"), (0.99996, "99.9 %"), (0.0001, "under 0.1 %"), (None, DASH)],
)
def test_a_share_is_never_rounded_to_all_or_nothing(share: float | None, text: str) -> None:
    assert plain(percentage(share)) == text


def test_whole_percent() -> None:
    assert plain(percentage(0.826, 0)) == "83 %"
    assert plain(percentage(0.999, 0)) == "99 %"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.7083903, "0.708"),
        (0.00075, "0.00075"),
        (6.67572e-06, "6.68 × 10⁻⁶"),
        (12345.0, "12,300"),
        (0.0, "0"),
        (-2.5, "-2.5"),
        (1e300, "1 × 10³⁰⁰"),
        (None, DASH),
        (float("nan"), DASH),
    ],
)
def test_numbers_have_as_many_digits_as_say_something(value: float | None, text: str) -> None:
    assert plain(decimal(value)) == text


def test_what_is_counted_is_one_or_many() -> None:
    assert [plain(count(number, "photo")) for number in (0, 1, 12345)] == ["0 photos", "1 photo", "12,345 photos"]
    assert plain(count(2, "class", "classes")) == "2 classes"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (13_574_468, "13.6 MB"), (2.5e9, "2.5 GB"), (9e15, "9000.0 TB")],
)
def test_sizes(size: float, text: str) -> None:
    assert plain(byte_size(size)) == text


@pytest.mark.parametrize(("number", "text"), [(950, "950"), (3_385_000, "3.38 million"), (4e12, "4 trillion")])
def test_large_numbers(number: float, text: str) -> None:
    assert plain(large_number(number)) == text


def test_long_lists_are_cut() -> None:
    assert listing([]) == ""
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(list("abcdefg"), 3) == "a, b, c and 4 more"


def test_a_time_has_its_zone_where_it_is_known() -> None:
    time = datetime(2026, 11, 23, 7, 20)
    offset = time.astimezone().strftime("%z")

    assert moment(time) == "2026-11-23 07:20"
    local = moment(time.astimezone(UTC))
    assert local.startswith("2026-11-23 07:20 UTC")
    assert local.removeprefix("2026-11-23 07:20 UTC").replace(":", "") == offset.replace("+0000", "")
