"""Data loaders over labelled files."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from classifier_training.data.dataset import EvaluationDataset, collate
from classifier_training.types import ClassificationBatch, Preprocessing

MAX_DEFAULT_WORKERS = 8


def evaluation_loader(
    paths: Sequence[str],
    labels: Sequence[int],
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    num_workers: int | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> DataLoader[ClassificationBatch]:
    """Batches to score on, in file order, every image exactly once over all ranks.

    Args:
        paths: The files.
        labels: Their class indices.
        preprocessing: The model's preprocessing.
        batch_size: Images in a batch.
        num_workers: Loader processes; None: by CPU count.
        rank: This process.
        world_size: Number of processes.
    """
    dataset = EvaluationDataset(paths, labels, preprocessing)
    # the ranks' shares differ by one image at most; nothing is padded, so nothing counts twice
    share = range(rank, len(dataset), world_size)
    return DataLoader(cast("Dataset[Any]", dataset), batch_size, sampler=share, **loader_options(num_workers))


def loader_options(num_workers: int | None) -> dict[str, Any]:
    """Options that all loaders share.

    Args:
        num_workers: Loader processes; None: by CPU count.
    """
    workers = min(MAX_DEFAULT_WORKERS, _num_cpus()) if num_workers is None else num_workers
    return {
        "num_workers": workers,
        "collate_fn": collate,
        "worker_init_fn": _leave_interrupts_to_the_main_process if workers else None,
        "persistent_workers": workers > 0,
        "pin_memory": torch.cuda.is_available(),
    }


def _num_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leave_interrupts_to_the_main_process(worker: int) -> None:  # noqa: ARG001 - the loader's signature
    """A terminal's Ctrl-C reaches every process; the main one decides when training stops."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
