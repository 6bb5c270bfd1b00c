"""What bounds the memory and the time of a server: places for images, bytes, and clients that hang up."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect, Request

from classifier_training.serve.errors import RequestRefusedError, busy

Result = TypeVar("Result")
_GUESSED_SECONDS: Final = 0.05
"""Of an image, before the first was measured."""


class Places:
    """Places for images that are on their way, and for the bytes of their requests.

    Args:
        num_places: Most images.
        max_bytes: Most bytes of all bodies together.
        seconds_per_image: Gives the mean time of an image, or None.

    Attributes:
        taken: Places that are in use.
    """

    def __init__(self, num_places: int, max_bytes: int, seconds_per_image: Callable[[], float | None]) -> None:
        self.num_places = num_places
        self.taken = 0
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._seconds_per_image = seconds_per_image

    @contextlib.contextmanager
    def share(self) -> Iterator[Share]:
        """What one request holds; it is given back after the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.taken -= share.num_images
            self._num_bytes -= share.num_bytes

    def take_images(self, num_images: int) -> None:
        """Takes places; see `Share.take_images`."""
        if self.taken + num_images > self.num_places:
            raise busy(f"{self.taken} of {self.num_places} places for images are taken", self.retry_after(num_images))
        self.taken += num_images

    def take_bytes(self, num_bytes: int) -> None:
        """Takes room for bytes; see `Share.take_bytes`."""
        if self._num_bytes + num_bytes > self._max_bytes:
            raise busy("the requests on their way fill the memory that they may take", self.retry_after(1))
        self._num_bytes += num_bytes

    def retry_after(self, num_images: int) -> int:
        """Seconds until so many places should be free, at the speed of late; at least 1."""
        too_many = max(1, self.taken + num_images - self.num_places)
        return max(1, math.ceil(too_many * (self._seconds_per_image() or _GUESSED_SECONDS)))


class Share:
    """What one request holds of the places.

    Attributes:
        num_images: Places.
        num_bytes: Bytes.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self.num_images = 0
        self.num_bytes = 0

    def take_images(self, num_images: int) -> None:
        """Takes places.

        Raises:
            RequestRefusedError: There are not so many free ones (503), with the time until there may be.
        """
        self._places.take_images(num_images)
        self.num_images += num_images

    def take_bytes(self, num_bytes: int) -> None:
        """Takes room for bytes of the body.

        Raises:
            RequestRefusedError: There is no more (503).
        """
        self._places.take_bytes(num_bytes)
        self.num_bytes += num_bytes


async def counted_body(request: Request, max_bytes: int, share: Share) -> AsyncGenerator[bytes, None]:
    """The body of a request, piece by piece, up to a number of bytes; what its header says is not relied on.

    Raises:
        RequestRefusedError: It is longer (413).
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    num_bytes = 0
    async for piece in request.stream():
        num_bytes += len(piece)
        if num_bytes > max_bytes:
            raise _too_large(max_bytes)
        share.take_bytes(len(piece))
        yield piece


def _too_large(max_bytes: int) -> RequestRefusedError:
    return RequestRefusedError(413, f"the body is larger than {max_bytes} bytes; send smaller or fewer images")


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of some work for a request whose body was read; the work is cancelled when the client hangs up.

    Raises:
        ClientDisconnect: The client has hung up.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
