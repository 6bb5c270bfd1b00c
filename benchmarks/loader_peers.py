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


def timm_loader(setup: Setup, *, use_prefetcher: bool, by_default: bool = False) -> Epoch:
    """The loader of timm's training script; without colour jitter and bilinear, unless ``by_default``."""
    from timm.data.dataset_factory import create_dataset
    from timm.data.loader import create_loader

    plain: dict[str, Any] = {} if by_default else {"color_jitter": None, "interpolation": "bilinear"}
    loader = create_loader(
        create_dataset("", str(setup.photos)),
        (3, IMAGE_SIZE, IMAGE_SIZE),
        setup.batch_size,
        is_training=True,
        use_prefetcher=use_prefetcher,
        num_workers=setup.num_workers,
        persistent_workers=True,
        pin_memory=False,
        device=torch.device("cpu"),
        **plain,
    )
    return lambda: (len(images) for images, _ in loader)


def fastai_loader(setup: Setup, *, by_default: bool = False) -> Epoch:
    """``ImageDataLoaders`` of fastai: crops image by image, flips, or does ``aug_transforms()``, batch by batch."""
    from fastai.vision import all as fastai

    batch_steps = fastai.aug_transforms() if by_default else [fastai.Flip()]
    loaders = fastai.ImageDataLoaders.from_folder(
        setup.photos,
        valid_pct=0.01,
        item_tfms=fastai.RandomResizedCrop(IMAGE_SIZE, min_scale=0.08),
        batch_tfms=[*batch_steps, fastai.Normalize.from_stats(*fastai.imagenet_stats)],
        bs=setup.batch_size,
        num_workers=setup.num_workers,
        device=torch.device("cpu"),
    )
    return lambda: (len(images) for images, _ in loaders.train)


def ultralytics_loader(setup: Setup, *, by_default: bool = False) -> Epoch:
    """The classification data set and loader of Ultralytics' trainer; crop and flip alone, unless ``by_default``."""
    from ultralytics.cfg import get_cfg
    from ultralytics.data.build import build_dataloader
    from ultralytics.data.dataset import ClassificationDataset

    options = {"imgsz": IMAGE_SIZE, "scale": 0.92, "fliplr": 0.5, "cache": False, "fraction": 1.0, "single_cls": False}
    none = dict.fromkeys(("flipud", "erasing", "hsv_h", "hsv_s", "hsv_v"), 0.0) | {"auto_augment": None}
    settings = get_cfg(overrides={"imgsz": IMAGE_SIZE}) if by_default else SimpleNamespace(**options, **none)
    dataset = ClassificationDataset(str(setup.photos), settings, augment=True)
    loader = build_dataloader(dataset, setup.batch_size, setup.num_workers, device="cpu")
    return lambda: (len(batch["img"]) for batch in loader)


def dali_loader(setup: Setup, *, like_ours: bool = False, as_float: bool = True) -> Epoch:
    """NVIDIA DALI on the CPU, decoding only the crop.

    Args:
        setup: Photos, batch size, threads.
        like_ours: Does what ours does by default: larger crops, bicubic, brightness, contrast and saturation.
        as_float: Gives normalised floats, channels first; otherwise uint8.
    """
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=setup.batch_size, num_threads=setup.num_workers, device_id=None)  # type: ignore[untyped-decorator, unused-ignore]
    def pipeline() -> Any:
        encoded, labels = fn.readers.file(file_root=str(setup.photos), random_shuffle=True, name="reader")
        area = {"random_area": [0.35, 1.0]} if like_ours else {}
        images = fn.decoders.image_random_crop(encoded, device="cpu", output_type=types.RGB, **area)
        filters = {"interp_type": types.INTERP_CUBIC} if like_ours else {}
        images = fn.resize(images, resize_x=IMAGE_SIZE, resize_y=IMAGE_SIZE, **filters)
        if like_ours:
            names = ("brightness", "contrast", "saturation")
            images = fn.color_twist(images, **{name: fn.random.uniform(range=[0.8, 1.2]) for name in names})
        mirror = fn.random.coin_flip()
        if not as_float:
            return fn.flip(images, horizontal=mirror), labels
        mean, std = ([255 * value for value in values] for values in (_MEAN, _STD))
        return fn.crop_mirror_normalize(images, dtype=types.FLOAT, mean=mean, std=std, mirror=mirror), labels

    running = pipeline()
    running.build()
    num_batches = running.epoch_size("reader") // setup.batch_size

    def epoch() -> Iterable[int]:
        for _ in range(num_batches):
            images, _labels = running.run()
            yield len(images)

    return epoch
