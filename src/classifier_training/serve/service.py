"""One serving process: its model, its batcher, its places and its counts, and whether it is ready."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from classifier_training.errors import BadImageError, ClassifierTrainingError, VerificationError, first_line
from classifier_training.serve.batcher import Batcher
from classifier_training.serve.errors import RequestRefusedError
from classifier_training.serve.limits import Places, Share, unless_gone
from classifier_training.serve.metrics import Metrics
from classifier_training.serve.model import ModelAnswer, ServedModel
from classifier_training.serve.settings import ServeSettings


@dataclass(frozen=True, slots=True)
class Upload:
    """One image of a request.

    Attributes:
        name: Its name; None: it has none.
        content: The bytes of the file.
    """

    name: str | None
    content: bytes


Result = ModelAnswer | BadImageError
Reader = Callable[[Request, Share], Awaitable[list[Upload]]]
"""Reads the images of a request, and takes room for their bytes."""


class Service:
    """Answers requests with a model, within the limits of the settings.

    Args:
        model: The model.
        settings: The limits.

    Attributes:
        settings: The limits.
        model: The model.
        metrics: What is counted.
        places: Who is on the way.
        failure: Why the model cannot be trusted; None: nothing is known against it.
    """

    def __init__(self, model: ServedModel, settings: ServeSettings) -> None:
        self.settings = settings
        self.model = model
        self.metrics = Metrics(model.classifier.card)
        self.places = Places(settings.queue, settings.max_bytes_together, lambda: self._seconds_per_image)
        self.failure: ClassifierTrainingError | None = None
        self._batcher: Batcher[ModelAnswer] | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the model has proven itself."""
        return self._batcher is not None

    @contextlib.asynccontextmanager
    async def running(self, on_proven: Callable[[], None] | None) -> AsyncGenerator[None, None]:
        """Proves the model, and ends its threads after the block.

        ``on_proven`` is called when the model is ready, or has a `failure`; the block begins before. Where it is None,
        the block begins when the model is ready, and a failure is raised.
        """
        proof = asyncio.create_task(self.prove())
        if on_proven is not None:
            proof.add_done_callback(lambda _: on_proven())
        else:
            await proof
            if self.failure is not None:
                raise self.failure
        try:
            yield
        finally:
            await proof
            if self._batcher is not None:
                self._batcher.close()

    async def prove(self) -> None:
        """Lets the model prove itself; it is ready afterwards, or there is a `failure`."""
        try:
            sizes = await asyncio.to_thread(self.model.prove, self.settings.largest_batch)
        except Exception as error:  # of onnxruntime, whose exceptions share no base class
            if not isinstance(error, ClassifierTrainingError):
                error = VerificationError(f"{self.model.classifier.path} cannot be run: {first_line(error)}")
            self.failure = error
            return
        threads = self.settings.threads
        self._batcher = Batcher(
            self.model.prepare, self.model.answer, sizes, threads.prepare, threads.models, self.metrics.batches.observe
        )

    def check_ready(self) -> None:
        """Refuses (503) while the model has not proven itself."""
        if not self.is_ready:
            reason = "the model has not passed its self-test yet" if self.failure is None else str(self.failure)
            raise RequestRefusedError(503, reason, {"Retry-After": "1"})

    async def answer(self, request: Request, read: Reader) -> list[tuple[Upload, Result]]:
        """Reads a request and classifies its images, all within the time limit.

        Raises:
            RequestRefusedError: The body or the number of images is too large (413), it did not arrive in time (408),
                there is no place (503) or no time (504).
            ClientDisconnect: The client has hung up.
        """
        self.check_ready()
        deadline = asyncio.get_running_loop().time() + self.settings.timeout
        with self._counted(), self.places.share() as share:
            share.take_images(1)
            try:
                async with asyncio.timeout_at(deadline):
                    uploads = await read(request, share)
            except TimeoutError:
                raise RequestRefusedError(408, f"the body did not arrive in {self.settings.timeout:g} s") from None
            self._check_number(len(uploads))
            share.take_images(len(uploads) - 1)
            self.metrics.places.set(self.places.taken)
            try:
                async with asyncio.timeout_at(deadline):
                    results = await unless_gone(request, self._classify([one.content for one in uploads]))
            except TimeoutError:
                raise RequestRefusedError(504, f"there was no answer in {self.settings.timeout:g} s") from None
        self.metrics.count(results)
        return list(zip(uploads, results, strict=True))

    @contextlib.contextmanager
    def _counted(self) -> Generator[None, None, None]:
        try:
            yield
        except ClientDisconnect:
            self.metrics.hung_up.inc()
            raise
        finally:
            self.metrics.places.set(self.places.taken)

    def _check_number(self, num_images: int) -> None:
        most = min(self.settings.max_images, self.settings.queue)
        if num_images > most:
            raise RequestRefusedError(413, f"{num_images} images in one request; at most {most} are allowed")

    async def _classify(self, contents: Sequence[bytes]) -> list[Result]:
        if len(contents) == 1:
            return [await self._classify_one(contents[0])]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._classify_one(content)) for content in contents]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _classify_one(self, content: bytes) -> Result:
        assert self._batcher is not None  # noqa: S101 - `answer` has checked that it is ready
        try:
            return await self._batcher(content)
        except BadImageError as error:
            return error

    @property
    def _seconds_per_image(self) -> float | None:
        return None if self._batcher is None else self._batcher.seconds_per_image
