"""Makers of small PyTorch classifiers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import nn

from classifier_training.exporters.forms import CalibrationImages, OriginalImage, ProofImages
from classifier_training.imaging.preprocess import preprocess, resize_and_crop
from classifier_training.inference.card import DeploymentCard
from classifier_training.types import Preprocessing

SIZES = ((40, 30), (40, 30), (16, 21), (7, 5), (18, 18), (40, 30), (1, 9), (33, 64), (40, 30))
"""Height and width of images, some smaller than the model's input, some of one size."""


def make_network(num_classes: int = 4, seed: int = 0) -> nn.Sequential:
    """A convolution, a BatchNorm with statistics, dropout and a head, in evaluation mode; takes any image size."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(8, num_classes),
        )
        network(torch.randn(16, 3, 16, 16))
        return network.eval()


def make_batch(num_images: int = 9, size: int = 16, seed: int = 0) -> torch.Tensor:
    """Random images, float32 (N, 3, S, S)."""
    return torch.randn(num_images, 3, size, size, generator=torch.Generator().manual_seed(seed))


def make_proof_images(
    preprocessing: Preprocessing,
    sizes: Sequence[tuple[int, int]] = SIZES,
    seed: int = 0,
    card: DeploymentCard | None = None,
    model: nn.Module | None = None,
) -> ProofImages:
    """Random images of some heights and widths as PNG files, prepared for a model; they calibrate as well.

    The labels are those that ``model`` predicts; None: all are 0.
    """
    generator = np.random.default_rng(seed)
    prepared, originals, cropped = [], [], []
    for number, size in enumerate(sizes):
        pixels = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        originals.append(OriginalImage(f"{number}.png", file.getvalue(), 0))
        prepared.append(preprocess(pixels, preprocessing))
        cropped.append(resize_and_crop(pixels, preprocessing))
    batch = torch.from_numpy(np.stack(prepared))
    if model is not None:
        with torch.no_grad():
            labels = model(batch).argmax(1).tolist()
        originals = [one._replace(label=label) for one, label in zip(originals, labels, strict=True)]
    images = ProofImages(batch, originals, card, np.stack(cropped))
    return replace(images, calibration=lambda count: CalibrationImages(batch.numpy()[:count], "0" * 64))
