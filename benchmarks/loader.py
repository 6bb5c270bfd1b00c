"""How many images a second our loader gives, side by side with its peers.

    python -m pip install -e '.[benchmarks]'
    python -m benchmarks.loader PHOTOS... [--batch-size 64] [--workers 2] [--rounds 3] [--seconds 3] [--only ours timm]

``PHOTOS`` holds one folder a class, several are put together; about 1,000 JPEGs of 400 to 500 pixels are what the
targets are about. Every loader takes random resized crops of 224 pixels from the same photos and flips half of them, in
batches of 64, with 2 processes or threads. Each runs in a process of its own: an epoch to warm up, then rounds of whole
epochs that take at least ``--seconds``; the number is the median of the rounds.

Rows *by default* do what each package does where nothing is set. Ours: bicubic, crops of at least 0.35 of the area,
colour jitter of 0.2, from the warm cache; as uint8, as it travels to a GPU, which jitters and normalises it, and as
finished floats for a CPU. timm: any filter, crops from 0.08, jitter of 0.4. torchvision: its reference script, which
crops and flips. fastai: ``aug_transforms()``. Ultralytics: RandAugment, erasing. The other rows crop from 0.08 of the
area, bilinear, and flip, no more; peers give normalised floats and ours uint8. The bare loop crops and resizes the
memory-mapped images of the warm cache with the same kernel and does nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from benchmarks.loader_peers import (
    IMAGE_SIZE,
    Epoch,
    Setup,
    dali_loader,
    fastai_loader,
    timm_loader,
    torchvision_loader,
    ultralytics_loader,
)
from torch import multiprocessing


def make_data(setup: Setup, **settings: Any) -> Any:
    """`ImageFolderDataModule` on the photos; caches and indices lie beside them."""
    from classifier_training.data.datamodule import ImageFolderDataModule
    from classifier_training.types import Preprocessing

    by_default = settings.pop("by_default", False)
    plain: dict[str, Any] = {} if by_default else {"color_jitter": 0.0, "train_scale": (0.08, 1.0)}
    filters: dict[str, Any] = {} if by_default else {"interpolation": "bilinear"}
    data = ImageFolderDataModule(
        setup.photos,
        preprocessing=Preprocessing(image_size=IMAGE_SIZE, **filters | settings.pop("filters", {})),
        batch_size=setup.batch_size,
        num_workers=setup.num_workers,
        cache_dir=str(_cache_folder(setup)),
        val_fraction=0.01,
        test_fraction=0.0,
        **plain | settings,
    )
    data.setup("fit")
    return data


def our_loader(setup: Setup, *, on_cpu: bool = False, **settings: Any) -> Epoch:
    """The training loader of `ImageFolderDataModule`."""
    loader = make_data(setup, **settings).train_dataloader()
    if not on_cpu:
        loader.normalization = None  # as in a Trainer, which normalises on the device
    return lambda: (len(batch["labels"]) for batch in loader)


def bare_loop(setup: Setup) -> Epoch:
    """Processes that crop and resize the images of a warm cache into one buffer, and nothing else."""
    results: Any = multiprocessing.SimpleQueue()
    orders: list[Any] = [multiprocessing.SimpleQueue() for _ in range(setup.num_workers)]
    for number, order in enumerate(orders):
        multiprocessing.Process(target=_bare_process, args=(setup, number, order, results), daemon=True).start()

    def epoch() -> Iterable[int]:
        for order in orders:
            order.put(None)
        for _ in orders:
            yield results.get()

    return epoch


def _bare_process(setup: Setup, number: int, order: Any, results: Any) -> None:
    from classifier_training.data.loading.randomness import Randomness, random_uniforms
    from classifier_training.data.loading.resampling import as_images

    torch.set_num_threads(1)
    dataset = make_data(setup, cache="disk").train_dataloader().dataset
    arrays = [dataset.cache.get(position) for position in range(number, len(dataset), setup.num_workers)]
    images = [as_images(pixels) for pixels in arrays if pixels is not None]
    uniforms = random_uniforms(0, number, np.arange(len(images)))
    crops = [
        dataset.transform.crop((image.shape[3], image.shape[2]), Randomness(row))
        for image, row in zip(images, uniforms, strict=True)
    ]
    batch = torch.empty((setup.batch_size, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    resize, size = torch.ops.aten._upsample_bilinear2d_aa.out, [IMAGE_SIZE, IMAGE_SIZE]
    outputs = [batch[number : number + 1] for number in range(setup.batch_size)]
    while True:
        order.get()
        for turn, position in enumerate(np.random.default_rng().permutation(len(images)).tolist()):
            left, top, width, height = crops[position]
            crop = images[position][:, :, top : top + height, left : left + width]
            resize(crop, size, False, None, None, out=outputs[turn % setup.batch_size])
        results.put(len(images))


def first_batch_seconds(setup: Setup) -> float:
    """From the data module to the first batch of a warm cache."""
    for name in ("classifier_training.data.datamodule", "pyarrow", "pandas"):  # pyarrow imports pandas where it is
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    started = time.perf_counter()
    next(iter(our_loader(setup, cache="disk")()))
    return time.perf_counter() - started


def epoch_start_seconds(setup: Setup) -> float:
    """From the end of an epoch to the first batch of the next, as configured by default; a median."""
    epoch, waits = our_loader(setup, cache="disk", by_default=True), []
    sum(epoch())
    for _ in range(7):
        started = time.perf_counter()
        batches = iter(epoch())
        next(iter(batches))
        waits.append(time.perf_counter() - started)
        sum(batches)
    return statistics.median(waits)


def _cache_folder(setup: Setup) -> Path:
    return setup.photos.parent / "cache"


_by_default = functools.partial(our_loader, cache="disk", by_default=True)
CONTESTANTS: Final[dict[str, Callable[[Setup], Epoch]]] = {
    "by default: ours, floats": functools.partial(_by_default, on_cpu=True),
    "by default: ours, uint8": _by_default,
    "by default: timm": functools.partial(timm_loader, use_prefetcher=False, by_default=True),
    "by default: timm, prefetcher": functools.partial(timm_loader, use_prefetcher=True, by_default=True),
    "by default: torchvision": torchvision_loader,
    "by default: fastai": functools.partial(fastai_loader, by_default=True),
    "by default: Ultralytics": functools.partial(ultralytics_loader, by_default=True),
    "as ours: DALI, floats": functools.partial(dali_loader, like_ours=True),
    "as ours: DALI, uint8": functools.partial(dali_loader, like_ours=True, as_float=False),
    "no jitter: ours, floats": functools.partial(_by_default, on_cpu=True, color_jitter=0.0),
    "no jitter: ours, uint8": functools.partial(_by_default, color_jitter=0.0),
    "bilinear: ours, uint8": functools.partial(_by_default, filters={"interpolation": "bilinear"}),
    "torchvision": torchvision_loader,
    "timm": functools.partial(timm_loader, use_prefetcher=False),
    "timm, prefetcher": functools.partial(timm_loader, use_prefetcher=True),
    "fastai": fastai_loader,
    "Ultralytics": ultralytics_loader,
    "DALI": dali_loader,
    "ours, from files": functools.partial(our_loader, cache="none", cache_size="original"),
    "ours, from files, reduced": functools.partial(our_loader, cache="none"),
    "ours, first epoch": functools.partial(our_loader, cache="disk"),
    "ours, from the cache": functools.partial(our_loader, cache="disk"),
    "ours, from the cache, floats": functools.partial(our_loader, cache="disk", on_cpu=True),
    "bare loop": bare_loop,
    "torchvision, RandAugment": functools.partial(torchvision_loader, policy="RandAugment"),
    "ours, RandAugment": functools.partial(our_loader, cache="disk", auto_augment="randaugment"),
    "torchvision, TrivialAugment": functools.partial(torchvision_loader, policy="TrivialAugmentWide"),
    "ours, TrivialAugment": functools.partial(our_loader, cache="disk", auto_augment="trivialaugment"),
    "torchvision, AugMix": functools.partial(torchvision_loader, policy="AugMix"),
    "ours, AugMix": functools.partial(our_loader, cache="disk", auto_augment="augmix"),
    "ours, 3-Augment": functools.partial(our_loader, cache="disk", auto_augment="3augment", color_jitter=0.3),
}
FIRST_EPOCH, FIRST_BATCH, EPOCH_START = "ours, first epoch", "ours, first batch", "ours, start of an epoch"
MAX_SECONDS: Final = {FIRST_BATCH: 1.0, EPOCH_START: 0.03}
TARGETS: Final[Sequence[tuple[str, float, tuple[str, ...]]]] = (
    ("by default: ours, floats", 8.0, ("by default: timm", "by default: timm, prefetcher")),
    ("by default: ours, uint8", 4.0, ("as ours: DALI, uint8",)),
    ("by default: ours, floats", 0.8, ("no jitter: ours, floats",)),
    ("by default: ours, uint8", 0.8, ("no jitter: ours, uint8",)),
    ("by default: ours, uint8", 0.67, ("bilinear: ours, uint8",)),
    ("ours, from files", 1.1, ("DALI",)),
    ("ours, from files", 2.0, ("timm", "timm, prefetcher")),
    ("ours, first epoch", 1.1, ("DALI",)),
    ("ours, first epoch", 2.0, ("timm", "timm, prefetcher")),
    ("ours, from the cache", 12.0, ("timm", "timm, prefetcher")),
    ("ours, from the cache", 6.0, ("DALI",)),
    ("ours, from the cache", 0.7, ("bare loop",)),
    ("ours, RandAugment", 6.0, ("torchvision, RandAugment",)),
    ("ours, TrivialAugment", 6.0, ("torchvision, TrivialAugment",)),
)
"""What is to be how many times as fast as the fastest of which."""


def measure(name: str, setup: Setup, rounds: int, seconds: float) -> float:
    """Images a second of one loader; of the first batch and the start of an epoch, seconds."""
    if name == FIRST_BATCH:
        return first_batch_seconds(setup)
    if name == EPOCH_START:
        return epoch_start_seconds(setup)
    if name == FIRST_EPOCH:
        shutil.rmtree(_cache_folder(setup), ignore_errors=True)
    epoch = CONTESTANTS[name](setup)
    if name == FIRST_EPOCH:
        return _started_rate(epoch, setup.num_workers)
    sum(epoch())
    return statistics.median(_round(epoch, seconds) for _ in range(rounds))


def _round(epoch: Epoch, seconds: float) -> float:
    count, started, passed = 0, time.perf_counter(), 0.0
    while passed < seconds or not count:
        count += sum(epoch())
        passed = time.perf_counter() - started
    return count / passed


def _started_rate(epoch: Epoch, num_workers: int) -> float:
    """Images a second of the only epoch, from the first batches on: the warm-up hides how the others start, too."""
    sizes = iter(epoch())
    for _ in range(num_workers):
        next(sizes)
    started = time.perf_counter()
    return sum(sizes) / (time.perf_counter() - started)


def measure_apart(name: str, setup: Setup, rounds: int, seconds: float) -> float | str:
    """`measure` in a process of its own; why not, if it could not be measured."""
    values = []
    for _ in range(rounds if name in {FIRST_EPOCH, *MAX_SECONDS} else 1):
        arguments = json.dumps([name, str(setup.photos), setup.batch_size, setup.num_workers, rounds, seconds])
        command = [sys.executable, "-m", "benchmarks.loader", "--measure", arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            (*_, reason) = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            return reason
        values.append(float(done.stdout.strip().splitlines()[-1]))
    return statistics.median(values)


def verdicts(found: dict[str, float]) -> Iterable[str]:
    """Every target whose loaders were measured, and whether it is met."""
    for name, factor, others in TARGETS:
        there = {other: found[other] for other in others if other in found}
        if name in found and there:
            fastest = max(there, key=lambda other: there[other])
            ratio = found[name] / there[fastest]
            yield f"{name} / {fastest}: {ratio:.2f}, target {factor:g}: {'met' if ratio >= factor else 'NOT MET'}"
    for name, most in MAX_SECONDS.items():
        if name in found:
            met = "met" if found[name] <= most else "NOT MET"
            yield f"{name}: {found[name]:.3f} s, target {most:g} s: {met}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", nargs="*", help="beginnings of names")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, photos, batch_size, num_workers, rounds, seconds = json.loads(options.measure)
        warnings.simplefilter("ignore")  # the peers' own
        print(measure(name, Setup(Path(photos), batch_size, num_workers), rounds, seconds))
        return
    if not options.photos:
        parser.error("the folder of photos is missing")
    with tempfile.TemporaryDirectory() as folder:
        # a copy, because Ultralytics writes beside the photos
        photos = Path(folder) / "photos"
        for part in options.photos:
            shutil.copytree(part, photos, dirs_exist_ok=True)
        compare(Setup(photos, options.batch_size, options.workers), options.rounds, options.seconds, options.only)


def compare(setup: Setup, rounds: int, seconds: float, only: Sequence[str] | None) -> None:
    """Measures one loader after the other and prints what was found."""
    print(
        f"{platform.machine()}, torch {torch.__version__}, batches of {setup.batch_size}, {setup.num_workers} workers"
    )
    found: dict[str, float] = {}
    for name in [*CONTESTANTS, *MAX_SECONDS]:
        if only and not name.startswith(tuple(only)):
            continue
        value = measure_apart(name, setup, rounds, seconds)
        if isinstance(value, str):
            print(f"{name:30} left out: {value}", flush=True)
            continue
        found[name] = value
        print(f"{name:30} {value:8.3f} s" if name in MAX_SECONDS else f"{name:30} {value:8.0f} images/s", flush=True)
    print(*verdicts(found), sep="\n")


if __name__ == "__main__":
    main()
