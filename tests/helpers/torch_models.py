"""Makers of small PyTorch classifiers."""

from __future__ import annotations

import torch
from torch import nn


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
