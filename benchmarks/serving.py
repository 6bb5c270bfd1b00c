"""Images a second of `serve`, beside `predict` and LitServe with the same file, in one run.

``python -m benchmarks.serving MODEL PHOTOS [--seconds 60] [--clients 64]``; MODEL is an ``.onnx`` file. Clients post
photos over connections that stay open, one after the other, in one process of their own. LitServe takes part where it
can be imported.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import numpy as np
import psutil

from classifier_training.inference.classifier import Classifier
from classifier_training.inference.listing import find_images

_LITSERVE_PORT = 8131
_WARM_UP_SECONDS = 5.0


class Body(NamedTuple):
    """The body of a request."""

    media_type: str
    content: bytes


@dataclass(slots=True)
class Load:
    """What clients saw.

    Attributes:
        seconds: Latency of every answered request.
        errors: Answers that were not 200.
        memory: MiB of the server at the quarters of the time, with its children.
        duration: Seconds that were measured.
        cpu: CPU seconds of the server in that time, with its children.
    """

    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    memory: list[float] = field(default_factory=list)
    duration: float = 0.0
    cpu: float = 0.0

    def row(self, name: str, reference: float) -> str:
        """A line of the table."""
        rate = len(self.seconds) / self.duration
        p50, p99 = np.quantile(self.seconds, [0.5, 0.99])
        growth = self.memory[-1] / self.memory[0] - 1
        return (
            f"{name:10} {rate:7.1f} images/s  {rate / reference:5.2f} x predict  p50 {p50 * 1000:6.0f} ms"
            f"  p99 {p99 * 1000:6.0f} ms  {1000 * self.cpu / len(self.seconds):5.1f} CPU ms an image"
            f"  {self.errors} errors  {self.memory[-1]:5.0f} MiB ({growth:+.1%})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=64)
    arguments = parser.parse_args()
    paths = list(find_images([arguments.photos]))
    photos = [path.read_bytes() for path in paths]
    rate = predict_rate(arguments.model, paths, arguments.seconds)
    print(f"{len(photos)} photos of {np.mean(list(map(len, photos))) / 1024:.0f} kB")
    with own_server(arguments.model) as (process, port, ready):
        print(f"serve      ready after {ready:.2f} s")
        bodies = [Body("image/jpeg", photo) for photo in photos]
        load = asyncio.run(measure(process, port, bodies, arguments.seconds, arguments.clients))
        print(load.row("serve", rate))
    if find_spec("litserve") is None:
        print("LitServe is not installed")
        return
    forms = [form_of(photo) for photo in photos]
    with litserve_server(arguments.model) as (process, port):
        load = asyncio.run(measure(process, port, forms, arguments.seconds, arguments.clients))
        print(load.row("LitServe", rate))


def form_of(photo: bytes) -> Body:
    """A photo as the file of a form, which LitServe takes."""
    head = b'--photo\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    return Body("multipart/form-data; boundary=photo", head + photo + b"\r\n--photo--\r\n")


def predict_rate(model: Path, paths: list[Path], seconds: float) -> float:
    """Images a second of ``predict_files`` over files in the page cache."""
    classifier = Classifier(model)
    endless = classifier.predict_files(list(itertools.islice(itertools.cycle(paths), 10**6)))
    for _ in range(64):
        next(endless)
    started, count, cpu = time.perf_counter(), 0, time.process_time()
    while time.perf_counter() - started < seconds:
        for _ in range(32):
            next(endless)
        count += 32
    rate = count / (time.perf_counter() - started)
    print(f"predict    {rate:7.1f} images/s  {1000 * (time.process_time() - cpu) / count:5.1f} CPU ms an image")
    endless.close()  # type: ignore[attr-defined]  # it is a generator
    return rate


@contextlib.contextmanager
def own_server(model: Path) -> Iterator[tuple[subprocess.Popen[str], int, float]]:
    """``serve`` on a free port, and the seconds from the start of the command until it was ready."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "classifier_training", "serve", str(model), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None  # noqa: S101 - as asked for
    try:
        address = process.stdout.readline().split(" at ")[1].split()[0]
        process.stdout.readline()
        yield process, int(address.rpartition(":")[2]), time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def litserve_server(model: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """LitServe with its batching, as its documentation sets it up."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.serving_litserve", str(model), str(_LITSERVE_PORT)], text=True
    )
    try:
        while True:
            with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{_LITSERVE_PORT}/health") as answer:
                if answer.status == 200:
                    break
            time.sleep(0.2)
        yield process, _LITSERVE_PORT
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        process.wait(60)


async def measure(
    process: subprocess.Popen[str], port: int, bodies: list[Body], seconds: float, num_clients: int
) -> Load:
    """Lets clients post photos for some time, after they have warmed the server up."""
    load, endless = Load(), itertools.cycle(bodies)
    begin = time.perf_counter() + _WARM_UP_SECONDS
    end = begin + seconds
    clients = [asyncio.create_task(client(port, endless, load, begin, end)) for _ in range(num_clients)]
    await asyncio.sleep(begin - time.perf_counter())
    load.cpu = -cpu_of(process.pid)
    for quarter in range(5):
        await asyncio.sleep(max(0.0, begin + quarter * (end - begin) / 4 - time.perf_counter()))
        load.memory.append(memory_of(process.pid))
    load.cpu += cpu_of(process.pid)
    await asyncio.gather(*clients)
    load.duration = seconds
    return load


async def client(port: int, bodies: Iterator[Body], load: Load, begin: float, end: float) -> None:
    """Posts photos one after the other over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (started := time.perf_counter()) < end:
        body = next(bodies)
        writer.write(
            f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {body.media_type}\r\n"
            f"Content-Length: {len(body.content)}\r\n\r\n".encode()
            + body.content
        )
        status = int((await reader.readline()).split()[1])
        length = 0
        while (line := await reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        await reader.readexactly(length)
        if begin <= time.perf_counter() <= end:
            if status == 200:
                load.seconds.append(time.perf_counter() - started)
            else:
                load.errors += 1
    writer.close()


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and its children so far."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(one.cpu_times().user + one.cpu_times().system for one in processes)


def memory_of(pid: int) -> float:
    """MiB that a process and its children hold in memory."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(one.memory_info().rss for one in processes) / 2**20


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
