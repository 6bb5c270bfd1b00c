"""What it takes to index a tar shard: the header reader of this package, and `tarfile` alone.

Run: python benchmarks/tar_index.py [--members 50000]

Half the members are photos of 20 kB, half are labels, as WebDataset writes them: once with the plain headers that GNU
tar writes, once with an extended header before each, which WebDataset's own writer makes of a time with a fraction.
The file is in the page cache: what is measured is the reading of headers.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from classifier_training.data.sources.shard_samples import read_shard
from classifier_training.data.sources.tar_members import tar_members

REPEATS = 5
PHOTO_BYTES = 20_000


def write_shard(path: Path, num_members: int, mtime: float) -> None:
    """Writes a shard whose photos are zeros."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(num_members // 2):
            for extension, content in (("jpg", bytes(PHOTO_BYTES)), ("cls", b"3")):
                info = tarfile.TarInfo(f"{number:08d}.{extension}")
                info.size, info.mtime = len(content), mtime
                tar.addfile(info, io.BytesIO(content))


def with_tarfile(path: Path) -> int:
    """Number of members, each with name, offset and size."""
    with tarfile.open(path, "r:") as tar:
        return len([(info.name, info.offset_data, info.size) for info in tar])


def shortest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Prints microseconds a member."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=50_000)
    num_members = parser.parse_args().members
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shard.tar"
        for name, mtime in (("plain headers", 1_700_000_000), ("extended headers", 1_700_000_000.25)):
            write_shard(path, num_members, mtime)
            ours = shortest(lambda: sum(1 for _ in tar_members(str(path))))
            theirs = shortest(lambda: with_tarfile(path))
            whole = shortest(lambda: read_shard(str(path)))
            print(
                f"{name}, {num_members} members: {ours / num_members * 1e6:.1f} µs a member, tarfile"
                f" {theirs / num_members * 1e6:.1f} µs, ratio {theirs / ours:.1f}; with labels and keys"
                f" {whole / num_members * 1e6:.1f} µs"
            )


if __name__ == "__main__":
    main()
