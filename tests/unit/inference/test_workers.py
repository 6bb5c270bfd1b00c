"""Work that threads share comes back in order, and only a little of it is done ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from classifier_training.inference.workers import chunks, in_order


def test_results_are_in_order_although_a_later_one_is_ready_first() -> None:
    is_second_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            is_second_done.wait(10)
        if item == 1:
            is_second_done.set()
        return item * item

    assert list(in_order(work, range(9), 2)) == [item * item for item in range(9)]


def test_only_so_much_is_taken_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = in_order(str, items(), 2)

    assert next(results) == "0"
    assert len(taken) == 4
    assert [next(results), next(results)] == ["1", "2"]
    assert len(taken) == 6


def test_an_error_comes_when_its_turn_has_come() -> None:
    results = in_order(lambda item: 6 // item, [3, 2, 0, 1], 2)

    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_chunks_are_cut_from_what_need_not_be_a_list() -> None:
    assert list(chunks(iter("abcde"), 2)) == [["a", "b"], ["c", "d"], ["e"]]
    assert not list(chunks([], 2))
