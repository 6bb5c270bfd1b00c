"""The loaders that `benchmarks.loader` is measured against, each as its own documentation sets it up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import torch
from torch.utils.data import DataLoader

IMAGE_SIZE: Final = 224
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Epoch = Callable[[], Iterable[int]]
"""One epoch: the numbers of images in its batches."""


class Setup(NamedTuple):
    """What all loaders are given."""

    photos: Path
    batch_size: int
    num_workers: int


def torchvision_loader(setup: Setup, policy: str = "") -> Epoch:
    """``ImageFolder`` and a ``DataLoader``, as in torchvision's documentation."""
    from torchvision import datasets
    from torchvision import transforms as T  # noqa: N812 - as its documentation names it

    steps = [T.RandomResizedCrop(IMAGE_SIZE), T.RandomHorizontalFlip()]
    if policy:
        steps.append(getattr(T, policy)(interpolation=T.InterpolationMode.BILINEAR))
    steps += [T.ToTensor(), T.Normalize(_MEAN, _STD)]
    loader: DataLoader[Any] = DataLoader(
        datasets.ImageFolder(setup.photos, T.Compose(steps)),
        setup.batch_size,
        shuffle=True,
        num_workers=setup.num_workers,
        persistent_workers=True,
    )
    return lambda: (len(images) for images, _ in loader)


def timm_loader(setup: Setup, *, use_prefetcher: bool) -> Epoch:
    """The loader of timm's training script, without colour jitter."""
    from timm.data.dataset_factory import create_dataset
    from timm.data.loader import create_loader

    loader = create_loader(
        create_dataset("", str(setup.photos)),
        (3, IMAGE_SIZE, IMAGE_SIZE),
        setup.batch_size,
        is_training=True,
        use_prefetcher=use_prefetcher,
        color_jitter=None,  # type: ignore[arg-type]  # annotated too narrowly: this switches it off
        interpolation="bilinear",
        num_workers=setup.num_workers,
        persistent_workers=True,
        pin_memory=False,
        device=torch.device("cpu"),
    )
    return lambda: (len(images) for images, _ in loader)


def fastai_loader(setup: Setup) -> Epoch:
    """``ImageDataLoaders`` of fastai: crops image by image, flips batch by batch."""
    from fastai.vision import all as fastai

    loaders = fastai.ImageDataLoaders.from_folder(
        setup.photos,
        valid_pct=0.01,
        item_tfms=fastai.RandomResizedCrop(IMAGE_SIZE, min_scale=0.08),
        batch_tfms=[fastai.Flip(), fastai.Normalize.from_stats(*fastai.imagenet_stats)],
        bs=setup.batch_size,
        num_workers=setup.num_workers,
        device=torch.device("cpu"),
    )
    return lambda: (len(images) for images, _ in loaders.train)


def ultralytics_loader(setup: Setup) -> Epoch:
    """The classification data set and loader of Ultralytics' trainer, without colour changes."""
    from ultralytics.data.build import build_dataloader
    from ultralytics.data.dataset import ClassificationDataset

    options = {"imgsz": IMAGE_SIZE, "scale": 0.92, "fliplr": 0.5, "cache": False, "fraction": 1.0, "single_cls": False}
    none = dict.fromkeys(("flipud", "erasing", "hsv_h", "hsv_s", "hsv_v"), 0.0) | {"auto_augment": None}
    dataset = ClassificationDataset(str(setup.photos), SimpleNamespace(**options, **none), augment=True)
    loader = build_dataloader(dataset, setup.batch_size, setup.num_workers, device="cpu")
    return lambda: (len(batch["img"]) for batch in loader)


def dali_loader(setup: Setup) -> Epoch:
    """NVIDIA DALI on the CPU, decoding only the crop."""
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=setup.batch_size, num_threads=setup.num_workers, device_id=None)  # type: ignore[untyped-decorator, unused-ignore]
    def pipeline() -> Any:
        encoded, labels = fn.readers.file(file_root=str(setup.photos), random_shuffle=True, name="reader")
        images = fn.decoders.image_random_crop(encoded, device="cpu", output_type=types.RGB)
        images = fn.resize(images, resize_x=IMAGE_SIZE, resize_y=IMAGE_SIZE)
        mean, std = ([255 * value for value in values] for values in (_MEAN, _STD))
        mirror = fn.random.coin_flip()
        return fn.crop_mirror_normalize(images, dtype=types.FLOAT, mean=mean, std=std, mirror=mirror), labels

    running = pipeline()
    running.build()
    num_batches = running.epoch_size("reader") // setup.batch_size

    def epoch() -> Iterable[int]:
        for _ in range(num_batches):
            images, _labels = running.run()
            yield len(images)

    return epoch
