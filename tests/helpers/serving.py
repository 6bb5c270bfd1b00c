"""Servers to test: the application in this process, and the command in one of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
import subprocess
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from numpy.typing import NDArray
from tests.helpers.cli import ENVIRONMENT, PROGRAM
from tests.helpers.images import jpeg_bytes, make_pixels
from tests.helpers.onnx_models import make_onnx

from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import Classifier
from classifier_training.inference.self_test import SelfTest, SelfTestImage
from classifier_training.serve.app import create_app
from classifier_training.serve.model import ModelAnswer, ServedModel
from classifier_training.serve.service import Service
from classifier_training.serve.settings import ServeSettings
from classifier_training.types import Preprocessing

CLASSES = ("red", "green", "blue")
PIXELS = Preprocessing(image_size=16)
Result = TypeVar("Result")


def make_served(path: Path, **entries: Any) -> Path:
    """A model whose logits are the mean colours of an image, with a self-test of one picture.

    Where there is an ``unknown``, its score is the first logit.

    Args:
        path: The file.
        entries: Further entries of its card.
    """
    card = DeploymentCard(CLASSES, PIXELS)
    make_onnx(path, metadata=card.to_metadata())
    jpeg = jpeg_bytes(make_pixels(seed=5))
    (answer,) = Classifier(path).predict_images([jpeg])
    test = SelfTest([SelfTestImage(jpeg, answer.label, answer.probabilities)]).to_dict()
    metadata = DeploymentCard(CLASSES, PIXELS, self_test=test, **entries).to_metadata()
    return make_onnx(path, metadata=metadata, has_unknown_score="unknown" in entries)


class HeldModel(ServedModel):
    """Answers when it is let go.

    Attributes:
        has_begun: Set when a batch has come.
        may_end: Set to let it answer.
        batches: The number of images of each batch.
    """

    def __init__(self, path: Path, max_pixels: int = 10**6) -> None:
        super().__init__(path, max_pixels)
        self.has_begun, self.may_end = threading.Event(), threading.Event()
        self.batches: list[int] = []

    def answer(self, inputs: Sequence[NDArray[Any]]) -> list[ModelAnswer | Exception]:
        if self.num_self_test_images is None:  # it proves itself
            return super().answer(inputs)
        self.has_begun.set()
        assert self.may_end.wait(30)
        self.batches.append(len(inputs))
        return super().answer(inputs)


@contextlib.asynccontextmanager
async def client_of(service: Service) -> AsyncGenerator[httpx.AsyncClient, None]:
    """A client of the application, without a network between them."""
    await service.prove()
    transport = httpx.ASGITransport(create_app(service, "shirts"), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        yield client


def talk(
    model: Path | ServedModel, conversation: Callable[[httpx.AsyncClient], Awaitable[Result]], **settings: Any
) -> Result:
    """Runs a conversation with the application of a model."""
    told = ServeSettings(**settings)
    served = model if isinstance(model, ServedModel) else ServedModel(model, told.max_pixels, 1)

    async def run() -> Result:
        async with client_of(Service(served, told)) as client:
            return await conversation(client)

    return asyncio.run(run())


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Waits until something holds that others bring about."""
    async with asyncio.timeout(30):
        while not await is_so():
            await asyncio.sleep(0)


@dataclass(slots=True)
class Served:
    """The command ``serve`` in a process of its own.

    Attributes:
        address: Where it listens.
        process: The process.
    """

    address: str
    process: subprocess.Popen[str]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to end, as a scheduler does, and gives the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def metric(self, name: str, headers: Mapping[str, str] | None = None) -> float:
        """The sum of the samples of a metric."""
        lines = httpx.get(f"{self.address}/metrics", headers=headers).text.splitlines()
        found = [line for line in lines if line.partition("{")[0].partition(" ")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in found)


@contextlib.contextmanager
def serving(*words: str | Path, environment: Mapping[str, str] | None = None) -> Generator[Served, None, None]:
    """Starts the command on a free port, waits until it is ready, and ends it with the block."""
    process = subprocess.Popen(
        [*PROGRAM, "serve", *map(str, words), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**ENVIRONMENT, **(environment or {})},
    )
    assert process.stdout is not None
    try:
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("ready"):
                break
        address = next((word for word in said.split() if word.startswith("http://")), "")
        assert address, said
        yield Served(address, process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def tensor(*images: bytes) -> dict[str, Any]:
    """The JSON of a request of the Open Inference Protocol."""
    data = [base64.b64encode(image).decode() for image in images]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [len(images)], "data": data}]}
