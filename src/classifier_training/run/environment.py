"""``environment.json``: the versions, hardware, code and data of a run."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess  # git alone is called, with fixed arguments
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from classifier_training.errors import RunError
from classifier_training.files.credentials import public_words
from classifier_training.files.text import plain_text
from classifier_training.run.records import Count

_TEXTS: Final = ("started", "data_root", "data_fingerprint", "data_order", "slurm_job")
PACKAGES: Final = ("classifier-training", "torch", "torchvision", "lightning", "timm", "torchmetrics", "onnx",
                   "onnxruntime", "numpy", "pillow")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """The processor.

    Attributes:
        model: Its name.
        count: Number of logical cores.
        threads: Number of threads that torch uses.
    """

    model: str | None = None
    count: Count | None = None
    threads: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsRecord:
    """The weights that a run started from.

    Attributes:
        source: ``file``, ``package``, ``cache``, ``hub``; ``none``: none were wanted; ``missing``: none were found.
        name: What they are: the package with its version, the repository of the hub, the path of the file.
        reason: Why these, or why none.
        file: The name of their file.
        sha256: Its hash.
        licence: Where it is stated.
    """

    source: str | None = None
    name: str | None = None
    reason: str | None = None
    file: str | None = None
    sha256: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherRecord:
    """The model that a run learns from.

    Attributes:
        teacher: The setting ``distill.teacher``, with an absolute path.
        backbone: Its timm name.
        sha256: Hash of its file.
    """

    teacher: str | None = None
    backbone: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Everything that distinguishes two runs besides their settings; None where a file of an early version has nothing.

    Attributes:
        started: When the run began, ISO 8601.
        seed: The run's seed.
        data_root: Where the images are; an address without credentials.
        data_fingerprint: Hash of the images, their labels and their splits.
        data_order: Hash of the training images in their order.
        data_split_rule: How images without given splits were split; None: by the first rule.
        command: The command line, its addresses without credentials.
        python: Version.
        platform: Operating system.
        versions: By package; None where it is not installed.
        git_commit: Of the working directory; None outside git.
        cpu: The processor.
        memory_bytes: Of the machine.
        gpus: Their names.
        cuda: Version; None without a GPU.
        slurm_job: The job's id; None outside SLURM.
        weights: What the run started from; None in a file of an early version.
        teacher: What it learns from besides the labels; None: from nothing.
    """

    started: str | None = None
    seed: int | None = None
    data_root: str | None = None
    data_fingerprint: str | None = None
    data_order: str | None = None
    data_split_rule: int | None = None
    command: tuple[str, ...] = ()
    python: str | None = None
    platform: str | None = None
    versions: dict[str, str | None] = field(default_factory=dict)
    git_commit: str | None = None
    cpu: Cpu = Cpu()
    memory_bytes: Count | None = None
    gpus: tuple[str, ...] = ()
    cuda: str | None = None
    slurm_job: str | None = None
    weights: WeightsRecord | None = None
    teacher: TeacherRecord | None = None


def describe_environment(
    *,
    seed: int,
    data_root: str,
    fingerprint: str,
    order: str,
    started: str,
    slurm_job: str | None = None,
    split_rule: int | None = None,
    weights: WeightsRecord | None = None,
) -> Environment:
    """The environment of this process; arguments as of `Environment`."""
    import psutil
    import torch

    return Environment(
        started=started,
        seed=seed,
        data_root=data_root,
        data_fingerprint=fingerprint,
        data_order=order,
        data_split_rule=split_rule,
        command=tuple(map(plain_text, public_words(sys.argv))),
        python=platform.python_version(),
        platform=platform.platform(),
        versions={name: _version(name) for name in PACKAGES},
        git_commit=git_commit(Path.cwd()),
        cpu=Cpu(model=cpu_model(), count=os.cpu_count(), threads=torch.get_num_threads()),
        memory_bytes=psutil.virtual_memory().total,
        gpus=tuple(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())),
        cuda=torch.version.cuda if torch.cuda.is_available() else None,
        slurm_job=slurm_job,
        weights=weights,
    )


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


def cpu_model() -> str:
    """What this machine calls its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def read_environment(path: Path) -> dict[str, Any]:
    """The values of an ``environment.json``, for those who need single ones of them; empty where there is no file.

    Raises:
        RunError: The file is damaged, or holds something else than text where it should.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):  # not UTF-8, not JSON
        raise RunError(f"{path} is damaged: it is not valid JSON; restore it from a copy of the run") from None
    if not isinstance(values, dict):
        raise RunError(f"{path} is damaged: it holds no object; restore it from a copy of the run")
    for name in _TEXTS:
        if not isinstance(values.get(name), str | None):
            raise RunError(f"{path} is damaged: {name} is not text but {values[name]!r:.40}; restore it from a copy")
    return values
