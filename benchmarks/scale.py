"""Fourteen million images: the index, the time until it is ready again, the split file, memory, an epoch's samples.

Run: python benchmarks/scale.py [--rows 14000000] [--folder FOLDER]

The images do not exist: what is measured is everything but reading them. Private memory is what a process does not
share with any other (USS), so pages of the index that all workers map count for none of them.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil

from classifier_training.data.index.check import DIGEST_BYTES, Facts
from classifier_training.data.index.table import Index, RowRecords, write_index
from classifier_training.data.photos import Photos
from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.splits.file import read_split, write_split
from classifier_training.data.splits.make import make_splits

PATH_LENGTH = 60
NUM_CLASSES = 10_000
TARGETS = {"index on disk, GB": 1.2, "ready again, s": 2.0, "private memory a worker, MB": 50.0}
SPLIT_TARGETS = {"split.csv written, s": 60.0, "split.csv read, s": 60.0, "split.csv read, MB": 1000.0}
SAMPLING_TARGETS = {"weighted sampling, s": 3.0, "weighted sampling, MB": 500.0}


def make_index(path: Path, num_rows: int) -> None:
    """Writes an index of images that do not exist, with paths of 60 bytes in one folder a class."""
    writer, per_class = RowWriter(), -(-num_rows // NUM_CLASSES)
    for number in range(NUM_CLASSES):
        folder = f"/data/photos/train/class_{number:05d}"
        name_length = PATH_LENGTH - len(folder) - 1 - len(".jpg")
        count = min(per_class, num_rows - writer.num_rows)
        names = [f"{number * per_class + item:0{name_length}d}.jpg" for item in range(count)]
        writer.add(folder, names, f"{number:05d}")
    facts, generator = Facts.empty(num_rows), np.random.default_rng(0)
    facts.digests[:] = generator.integers(0, 256, (num_rows, DIGEST_BYTES), np.uint8)
    facts.widths[:], facts.heights[:], facts.stamps[:] = 500, 375, 1
    write_index(path, Listing("synthetic", writer.table()), facts)


def megabytes() -> float:
    """Private memory of this process."""
    gc.collect()
    return float(psutil.Process().memory_full_info().uss) / 1e6


def ready(path: Path) -> None:
    """What a start does with an index that is there: open, split, count; prints the seconds."""
    started = time.perf_counter()
    splits = make_splits(Index(path), str(path), val_fraction=0.02, test_fraction=0.02, seed=0)
    print(time.perf_counter() - started, sum(map(len, splits.rows.values())))


def write_file(path: Path) -> None:
    """Writes the split file of an index next to it; prints the seconds."""
    index = Index(path)
    splits = make_splits(index, str(path), val_fraction=0.02, test_fraction=0.02, seed=0)
    photos = Photos(str(path), splits.classes, index, splits.rows, (), (), (), splits.fingerprint, splits.order)
    started = time.perf_counter()
    write_split(path.with_name("split.csv"), photos)
    print(time.perf_counter() - started)


def read_file(path: Path) -> None:
    """Reads the training split of that file; prints the seconds and the megabytes that it took at most."""
    with PeakMemory() as memory:
        started = time.perf_counter()
        images = read_split(path.with_name("split.csv"), "train")
        seconds = time.perf_counter() - started
    print(seconds, memory.megabytes, len(images))


class PeakMemory:
    """The largest growth of this process's memory within a block."""

    megabytes = 0.0

    def __enter__(self) -> Self:
        """Starts to watch."""
        self._process, self._is_over = psutil.Process(), threading.Event()
        self._before = self._process.memory_info().rss
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Ends watching."""
        self._is_over.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._is_over.wait(0.005):
            self.megabytes = max(self.megabytes, (self._process.memory_info().rss - self._before) / 1e6)


def worker(
    records: RowRecords, order: np.ndarray[tuple[int], np.dtype[np.int64]], pipe: Connection, together: Any
) -> None:
    """Looks up every image of an epoch, as a loader's worker does, and sends by how much its memory grew.

    All workers are measured while all are there: what they share would be private to the last one.
    """
    before = megabytes()
    for some in np.array_split(order, max(1, len(order) // 4096)):  # a list of all would be what takes the memory
        for position in some.tolist():
            records[position]
    together.wait()
    pipe.send(megabytes() - before)
    together.wait()


def worker_growth(path: Path, num_workers: int = 2) -> float:
    """Largest growth of private memory among workers that share an epoch, megabytes."""
    index = Index(path)
    records, order = RowRecords(index, np.arange(len(index))), np.random.default_rng(0).permutation(len(index))
    processes, pipes = [], []
    context = multiprocessing.get_context("fork")
    together = context.Barrier(num_workers)
    for number in range(num_workers):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = context.Process(target=worker, args=(records, order[number::num_workers], sender, together))
        process.start()
        processes.append(process)
        pipes.append(receiver)
    grown = max(float(pipe.recv()) for pipe in pipes)
    for process in processes:
        process.join()
    return grown


def sample(num_rows: int) -> None:
    """Samples an epoch by weight in a process of its own; prints seconds and the megabytes that it took at most."""
    import torch

    from classifier_training.data.sampling.sampler import TrackingWeightedRandomSampler

    weights = torch.rand(num_rows, dtype=torch.float64)
    sampler = TrackingWeightedRandomSampler(weights, num_rows, generator=torch.Generator().manual_seed(0))
    sampler.indices(0)  # once for the code to be loaded
    with PeakMemory() as memory:
        started = time.perf_counter()
        sampled = sampler.indices(0)
        seconds = time.perf_counter() - started
    print(seconds, memory.megabytes, len(sampled))


def in_new_process(*arguments: str) -> list[float]:
    """The numbers that this script prints when it is run for one measurement."""
    finished = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return [float(word) for word in finished.stdout.split()]


def report(name: str, value: float, target: float) -> None:
    print(f"{name:32} {value:10.2f}   target <= {target:g}   {'met' if value <= target else 'NOT MET'}")


def main() -> None:
    """Prints every figure beside its target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=14_000_000)
    parser.add_argument("--folder", type=Path, help="where the index is written, 1.2 GB; default: a temporary folder")
    parser.add_argument("--only", choices=["ready", "sampling", "writing", "reading"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only == "ready":
        ready(arguments.folder)
        return
    if arguments.only in {"writing", "reading"}:
        (write_file if arguments.only == "writing" else read_file)(arguments.folder)
        return
    if arguments.only == "sampling":
        sample(arguments.rows)
        return
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        path = folder / "index.arrow"
        started = time.perf_counter()
        make_index(path, arguments.rows)
        print(f"{arguments.rows} rows, {NUM_CLASSES} classes, paths of {PATH_LENGTH} bytes;"
              f" written in {time.perf_counter() - started:.0f} s")  # fmt: skip
        values = [path.stat().st_size / 1e9, 0.0, 0.0]
        in_new_process("--only", "ready", "--folder", str(path))  # the first start of a source and seed
        values[1] = in_new_process("--only", "ready", "--folder", str(path))[0]
        values[2] = worker_growth(path)
        for (name, target), value in zip(TARGETS.items(), values, strict=True):
            report(name, value, target)
        written = in_new_process("--only", "writing", "--folder", str(path))
        read = in_new_process("--only", "reading", "--folder", str(path))
        for (name, target), value in zip(SPLIT_TARGETS.items(), [*written, *read[:2]], strict=True):
            report(name, value, target)
        for (name, target), value in zip(
            SAMPLING_TARGETS.items(), in_new_process("--only", "sampling", "--rows", str(arguments.rows)), strict=False
        ):
            report(name, value, target)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
