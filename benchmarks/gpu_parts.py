"""What `benchmarks.gpu` measures with: its images, its trainings and their clocks."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, Self

import lightning
import numpy as np
import torch
from benchmarks.training_step import HandWritten
from lightning.pytorch.profilers import Profiler
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from classifier_training.callbacks.checkpoint import AtomicCheckpointIO
from classifier_training.callbacks.table import RunContext, build_callbacks
from classifier_training.config.schema import Config
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.device import auto_precision
from classifier_training.models.settings import ModelSettings
from classifier_training.run.folder import RunFolder
from classifier_training.run.stop_requests import StopRequests
from classifier_training.terminal.terminal import Terminal
from classifier_training.tracking.trackers import Trackers

NUM_CLASSES = 10
NUM_WATCHED = 5
"""Steps in which waits are counted, after those that are timed."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        models: timm names; the first is the one that most parts take, the last but one that of the average.
        image_size: Side of the input, pixels.
        batch_size: Images of a step.
        num_steps: Timed steps.
        num_warmup: Steps before them.
        num_workers: Loader processes; None: the default.
    """

    models: tuple[str, ...]
    image_size: int
    batch_size: int
    num_steps: int
    num_warmup: int
    num_workers: int | None = None

    @property
    def is_small(self) -> bool:
        return self is SMALL

    @property
    def num_val_batches(self) -> int:
        return 2 if self.is_small else 8

    @property
    def num_batches(self) -> int:
        """Batches of an epoch, which no measurement comes to the end of."""
        return self.num_warmup + self.num_steps + NUM_WATCHED + 4


FULL: Final = Scale(("resnet18", "resnet50", "vit_small_patch16_224"), 224, 128, 100, 20)
SMALL: Final = Scale(("test_resnet", "test_vit"), 32, 4, 3, 2, num_workers=0)


@dataclass(frozen=True, slots=True)
class Setup:
    """Where it is measured: the device, a folder for everything written, and the photos."""

    scale: Scale
    device: torch.device
    folder: Path
    photos: Path

    def to_json(self, **more: str) -> str:
        """For another process."""
        values = {"small": self.scale.is_small, "device": str(self.device), "folder": str(self.folder)}
        return json.dumps({**values, "photos": str(self.photos), **more})

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """From the words of `to_json`."""
        scale = SMALL if values["small"] else FULL
        return cls(scale, torch.device(values["device"]), Path(values["folder"]), Path(values["photos"]))


@dataclass(slots=True)
class Measured:
    """What some steps of a training gave.

    Attributes:
        rate: Images per second.
        waiting: Share of the time in which the host waited for a batch.
        peak_bytes: Most memory of the device that was in use; 0 on a CPU.
        waits_per_step: Operations of a step that let the host wait for the device.
        where: Lines of code that did.
    """

    rate: float
    waiting: float = 0.0
    peak_bytes: int = 0
    waits_per_step: float = 0.0
    where: list[str] = field(default_factory=list)


def synchronize(device: torch.device) -> None:
    """Waits until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize()


# -- data --------------------------------------------------------------------------------------------------------


def make_images(root: Path, scale: Scale, num_batches: int | None = None) -> Path:
    """Smooth coloured JPEGs, a folder a class: as many as an epoch takes, and some batches to validate on."""
    side = scale.image_size + scale.image_size // 4
    jobs = []
    for split, batches in (("train", num_batches or scale.num_batches), ("val", scale.num_val_batches)):
        for number in range(batches * scale.batch_size):
            folder = root / split / f"class{number % NUM_CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            jobs.append((folder / f"{number}.jpg", number, side))
    if scale.is_small:
        for job in jobs:
            _make_image(job)
    else:
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            list(pool.map(_make_image, jobs, chunksize=64))
    return root


def _make_image(job: tuple[Path, int, int]) -> None:
    path, number, side = job
    generator = np.random.default_rng(number)
    low = generator.integers(0, 160, (12, 12, 3)) + 8 * (number % NUM_CLASSES)
    Image.fromarray(low.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)


def device_batches(setup: Setup) -> list[dict[str, Tensor]]:
    """A few normalised batches that are on the device already."""
    generator = torch.Generator().manual_seed(0)
    shape = (setup.scale.batch_size, 3, setup.scale.image_size, setup.scale.image_size)
    return [
        {
            "images": torch.randn(shape, generator=generator).to(setup.device),
            "labels": torch.randint(NUM_CLASSES, shape[:1], generator=generator).to(setup.device),
            "indices": torch.arange(shape[0]),
        }
        for _ in range(4)
    ]


def photo_data(setup: Setup, photos: Path | None = None) -> ImageFolderDataModule:
    """The photos as a run reads them by default, their cache filled."""
    data = ImageFolderDataModule(
        photos or setup.photos,
        batch_size=setup.scale.batch_size,
        image_size=setup.scale.image_size,
        num_workers=setup.scale.num_workers,
        cache_dir=str(setup.folder / "cache"),
    )
    is_filled = setup.folder / f"{(photos or setup.photos).name}.filled"
    if not is_filled.exists():
        data.setup("fit")
        for _ in data.train_dataloader():
            pass
        is_filled.touch()
    return data


class _Repeated:
    """A loader that gives the same few batches for an epoch."""

    def __init__(self, batches: Sequence[dict[str, Tensor]], num_batches: int) -> None:
        self.batches, self.num_batches = batches, num_batches

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for number in range(self.num_batches):
            yield self.batches[number % len(self.batches)]


# -- the training step -------------------------------------------------------------------------------------------


def make_model(name: str, setup: Setup, **settings: Any) -> BaseClassificationModel:
    """The same weights at every call."""
    torch.manual_seed(0)
    chosen = ModelSettings(**settings)
    return BaseClassificationModel(name, NUM_CLASSES, image_size=setup.scale.image_size, settings=chosen)


def measure_bare_loop(name: str, setup: Setup, batches: Sequence[dict[str, Tensor]]) -> Measured:
    """Forward, backward, clipping, AdamW, schedule and EMA, with the arithmetic and the kernels of a run."""
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    dtype = half.get(auto_precision(setup.device.type))
    _forget_peak(setup.device)
    loop = HandWritten(make_model(name, setup), setup.device, setup.scale.num_batches, dtype)
    for number in range(setup.scale.num_warmup):
        loop.step(batches[number % len(batches)])
    synchronize(setup.device)
    start = time.perf_counter()
    for number in range(setup.scale.num_steps):
        loop.step(batches[number % len(batches)])
    synchronize(setup.device)
    seconds = time.perf_counter() - start
    return Measured(setup.scale.num_steps * setup.scale.batch_size / seconds, peak_bytes=_peak(setup.device))


def measure_trainer(
    model: BaseClassificationModel, setup: Setup, data: ImageFolderDataModule | Sequence[dict[str, Tensor]]
) -> Measured:
    """Some steps of a Trainer with every callback of a run; it is ended before its epoch is."""
    folder = setup.folder / f"run{time.monotonic_ns()}"
    context = RunContext(RunFolder(folder), Config(), Terminal(quiet=True), StopRequests(), Trackers())
    profiler, scale = _FetchClock(), setup.scale
    clock = _StepClock(setup, profiler)
    trainer = make_trainer(setup, [*build_callbacks(context), clock], profiler=profiler, limit_val_batches=0)
    _forget_peak(setup.device)
    with contextlib.suppress(_MeasuredError):
        if isinstance(data, ImageFolderDataModule):
            trainer.fit(model, datamodule=data)
        else:
            trainer.fit(model, _Repeated(data, scale.num_batches))
    return clock.measured


def make_trainer(setup: Setup, callbacks: list[lightning.Callback], **options: Any) -> lightning.Trainer:
    """As a run makes it."""
    settings: dict[str, Any] = {"max_epochs": 2, "logger": False, "enable_progress_bar": False}
    settings |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "use_distributed_sampler": False}
    return lightning.Trainer(
        accelerator=setup.device.type,
        devices=1,
        precision=auto_precision(setup.device.type),
        gradient_clip_val=1.0,
        deterministic="warn",
        benchmark=False,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=setup.folder,
        **{**settings, **options},
    )


class _MeasuredError(Exception):
    """Ends a training that has been measured."""


class _FetchClock(Profiler):
    """Adds up the seconds in which the loop waits for a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = self._started = 0.0

    def start(self, action_name: str) -> None:
        if action_name.endswith("train_dataloader_next"):
            self._started = time.perf_counter()

    def stop(self, action_name: str) -> None:
        if action_name.endswith("train_dataloader_next"):
            self.seconds += time.perf_counter() - self._started


class _StepClock(lightning.Callback):
    """Times some steps, then counts waits in a few more, then ends the training."""

    def __init__(self, setup: Setup, fetches: _FetchClock) -> None:
        self._setup, self.fetches = setup, fetches
        self.measured = Measured(0.0)
        self._started = 0.0
        self._counting = contextlib.ExitStack()
        self._waits: _Waits | None = None

    def on_train_batch_start(self, *arguments: Any) -> None:
        scale, device, batch_idx = self._setup.scale, self._setup.device, arguments[-1]
        if batch_idx == scale.num_warmup:
            synchronize(device)
            self.fetches.seconds, self._started = 0.0, time.perf_counter()
        if batch_idx == scale.num_warmup + scale.num_steps:
            synchronize(device)
            seconds = time.perf_counter() - self._started
            self.measured.rate = scale.num_steps * scale.batch_size / seconds
            self.measured.waiting = self.fetches.seconds / seconds
            self.measured.peak_bytes = _peak(device)
            self._waits = self._counting.enter_context(_waits(device))
        if self._waits is not None and batch_idx == scale.num_warmup + scale.num_steps + NUM_WATCHED:
            self._counting.close()
            self.measured.waits_per_step = self._waits.count / NUM_WATCHED
            self.measured.where = sorted(self._waits.where)[:3]
            raise _MeasuredError


class _Waits:
    """How often the host had to wait for the device, and where."""

    def __init__(self) -> None:
        self.count = 0
        self.where: set[str] = set()


@contextlib.contextmanager
def _waits(device: torch.device) -> Iterator[_Waits]:
    """Counts in the block: on a GPU what CUDA reports, on a CPU the reads of a tensor's value, which wait on a GPU."""
    waits = _Waits()
    if device.type != "cuda":
        with _Reads(waits):
            yield waits
        return
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found = [one for one in seen if "synchroniz" in str(one.message)]
    waits.count = len(found)
    waits.where |= {f"{Path(one.filename).name}:{one.lineno}" for one in found}


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own, as below
    def __init__(self, waits: _Waits) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits = waits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.waits.count += func.name() == "aten::_local_scalar_dense"
        return func(*args, **kwargs or {})


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
