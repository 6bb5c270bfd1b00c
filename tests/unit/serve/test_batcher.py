from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.helpers.serving import until

from classifier_training.serve.batcher import Batcher

Result = TypeVar("Result")


class Doubler:
    """A model that doubles the first byte of each image, and can be made to wait.

    An image of n bytes has the shape (n,).
    """

    def __init__(self, sizes: Sequence[int] = (1, 2, 4), *, is_held: bool = False) -> None:
        self.batches: list[list[tuple[int, ...]]] = []
        self.has_begun, self.may_end = threading.Event(), threading.Event()
        self.prepared: list[bytes] = []
        self.sizes = sizes
        if not is_held:
            self.may_end.set()

    def prepare(self, content: bytes) -> NDArray[Any]:
        self.prepared.append(content)
        if content == b"broken":
            raise ValueError("broken")
        return np.frombuffer(content, np.uint8)

    def run(self, inputs: Sequence[NDArray[Any]]) -> list[int | Exception]:
        self.has_begun.set()
        assert self.may_end.wait(30)
        self.batches.append([one.shape for one in inputs])
        return [OverflowError("too many") if one[0] == 255 else 2 * int(one[0]) for one in inputs]

    def talk(self, conversation: Callable[[Batcher[int]], Awaitable[Result]]) -> Result:
        async def run() -> Result:
            batcher = Batcher(self.prepare, self.run, self.sizes, 2)
            try:
                return await conversation(batcher)
            finally:
                self.may_end.set()
                batcher.close()

        return asyncio.run(run())


def test_an_idle_model_takes_an_image_at_once() -> None:
    model = Doubler()

    async def conversation(batcher: Batcher[int]) -> list[int]:
        return [await batcher(bytes([value])) for value in range(3)]  # one after the other: nobody else comes

    assert model.talk(conversation) == [0, 2, 4]
    assert [len(batch) for batch in model.batches] == [1, 1, 1]


def test_what_comes_while_the_model_runs_travels_together() -> None:
    model = Doubler(is_held=True)

    async def conversation(batcher: Batcher[int]) -> list[int]:
        first = asyncio.create_task(batcher(b"\x01"))
        await asyncio.to_thread(model.has_begun.wait)
        others = [asyncio.create_task(batcher(bytes([value]))) for value in range(2, 9)]

        async def are_prepared() -> bool:
            return len(model.prepared) == 8

        await until(are_prepared)
        model.may_end.set()
        return list(await asyncio.gather(first, *others))

    assert model.talk(conversation) == [2, 4, 6, 8, 10, 12, 14, 16]  # each its own answer
    assert [len(batch) for batch in model.batches] == [1, 4, 2, 1]  # of allowed sizes only


def test_sizes_do_not_mix() -> None:
    model = Doubler(is_held=True)

    async def conversation(batcher: Batcher[int]) -> list[int]:
        first = asyncio.create_task(batcher(b"\x01"))
        await asyncio.to_thread(model.has_begun.wait)
        contents = [bytes([value]) * (1 + value % 2) for value in range(2, 8)]
        others = [asyncio.create_task(batcher(content)) for content in contents]

        async def are_prepared() -> bool:
            return len(model.prepared) == 7

        await until(are_prepared)
        model.may_end.set()
        return list(await asyncio.gather(first, *others))

    assert model.talk(conversation) == [2, 4, 6, 8, 10, 12, 14]
    assert all(len(set(batch)) == 1 for batch in model.batches)
    assert max(len(batch) for batch in model.batches) == 2


def test_large_images_do_not_pile_up_in_memory() -> None:
    model = Doubler(is_held=True)

    def prepare(content: bytes) -> NDArray[Any]:  # 100 MiB each, which take no memory here
        return np.broadcast_to(model.prepare(content), 100 * 2**20)

    async def conversation() -> tuple[int, list[int]]:
        batcher = Batcher[int](prepare, model.run, model.sizes, 1)
        answers = [asyncio.create_task(batcher(bytes([value]))) for value in range(8)]

        async def are_prepared() -> bool:
            return len(model.prepared) >= 4

        await until(are_prepared)
        for _ in range(50):
            await asyncio.sleep(0)
        num_prepared = len(model.prepared)
        model.may_end.set()
        found = list(await asyncio.gather(*answers))
        batcher.close()
        return num_prepared, found

    num_prepared, found = asyncio.run(conversation())

    assert found == [2 * value for value in range(8)]
    assert num_prepared <= 6  # one runs, three are ready, two are with the thread
    assert max(map(len, model.batches)) <= 2


def test_an_error_is_that_of_its_image_alone() -> None:
    model = Doubler()

    async def conversation(batcher: Batcher[int]) -> list[int | BaseException]:
        contents = (b"\x03", b"broken", b"\xff", b"\x04")
        return list(await asyncio.gather(*map(batcher, contents), return_exceptions=True))

    three, broken, overflow, four = model.talk(conversation)
    assert (three, four) == (6, 8)
    assert isinstance(broken, ValueError)
    assert isinstance(overflow, OverflowError)


def test_what_nobody_waits_for_is_not_run() -> None:
    model = Doubler(is_held=True)

    async def conversation(batcher: Batcher[int]) -> int:
        first = asyncio.create_task(batcher(b"\x01"))
        await asyncio.to_thread(model.has_begun.wait)
        gone = [asyncio.create_task(batcher(b"\x02\x02")) for _ in range(50)]
        await asyncio.sleep(0)  # they are in the queue
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        model.may_end.set()
        return await first + await batcher(b"\x07")

    assert model.talk(conversation) == 16
    assert [shape for batch in model.batches for shape in batch] == [(1,)] * 2
    assert len(model.prepared) <= 6  # at most the four that threads had been given


def test_few_prepared_images_lie_in_memory() -> None:
    model = Doubler(is_held=True)

    async def conversation(batcher: Batcher[int]) -> int:
        tasks = [asyncio.create_task(batcher(bytes([value]))) for value in range(60)]

        async def is_full() -> bool:
            return (
                len(model.prepared) == 1 + 2 * 4 + 4
            )  # in the model, twice the largest batch, and those of two threads

        await until(is_full)
        for _ in range(100):
            await asyncio.sleep(0)
        num_prepared = len(model.prepared)
        model.may_end.set()
        assert sorted(await asyncio.gather(*tasks)) == [2 * value for value in range(60)]
        return num_prepared

    assert model.talk(conversation) == 13


def test_the_speed_is_known_after_a_batch() -> None:
    async def conversation(batcher: Batcher[int]) -> float | None:
        assert batcher.seconds_per_image is None
        await batcher(b"\x01")
        return batcher.seconds_per_image

    seconds = Doubler().talk(conversation)
    assert seconds is not None
    assert seconds > 0


def test_a_failing_model_fails_its_images() -> None:
    def run(_: Sequence[NDArray[Any]]) -> list[int | Exception]:
        raise MemoryError

    async def conversation() -> None:
        batcher = Batcher(lambda content: np.frombuffer(content, np.uint8), run, (1,), 1)
        with pytest.raises(MemoryError):
            await batcher(b"\x01")
        batcher.close()

    asyncio.run(conversation())


def test_batches_are_computed_beside_each_other() -> None:
    both = threading.Barrier(2, timeout=30)

    def run(inputs: Sequence[NDArray[Any]]) -> list[int | Exception]:
        both.wait()  # passes only when two batches are here
        return [len(one) for one in inputs]

    async def conversation() -> list[int]:
        batcher = Batcher(lambda content: np.frombuffer(content, np.uint8), run, (1,), 2, num_models=2)
        answers = list(await asyncio.gather(batcher(b"\x01"), batcher(b"\x02\x02")))
        batcher.close()
        return answers

    assert asyncio.run(conversation()) == [1, 2]
