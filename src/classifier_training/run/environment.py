"""What a run ran on: versions, hardware, code and data, for ``environment.json``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess  # git alone is called, with fixed words
import sys
from pathlib import Path
from typing import Any

import psutil
import torch

PACKAGES = ("classifier-training", "torch", "torchvision", "lightning", "timm", "torchmetrics", "onnx", "onnxruntime",
            "numpy", "pillow")  # fmt: skip


def describe_environment(*, seed: int, data_root: str, fingerprint: str, order: str, started: str) -> dict[str, Any]:
    """Everything that a person needs to tell two runs apart.

    Args:
        seed: The run's seed.
        data_root: Where the photos lie.
        fingerprint: Hash of the photos, their labels and their splits.
        order: Hash of the training photos in their order.
        started: When the run began, ISO 8601.
    """
    return {
        "started": started,
        "seed": seed,
        "data_root": data_root,
        "data_fingerprint": fingerprint,
        "data_order": order,
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in PACKAGES},
        "git_commit": git_commit(Path.cwd()),
        "cpu": {"model": _cpu_model(), "count": os.cpu_count(), "threads": torch.get_num_threads()},
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
    }


def git_commit(folder: Path) -> str | None:
    """The commit that a folder is checked out at, with ``-dirty`` after it where files differ; None outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607 - the user's git
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
