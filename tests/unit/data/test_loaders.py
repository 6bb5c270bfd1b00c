from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from tests.helpers.photos import make_photo

from classifier_training.data.loaders import MAX_DEFAULT_WORKERS, evaluation_loader, loader_options
from classifier_training.types import Preprocessing

SMALL = Preprocessing(image_size=16)


def make_paths(root: Path, count: int) -> list[str]:
    return [str(make_photo(root / f"{number}.png", number)) for number in range(count)]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_image_once_in_file_order(tmp_path: Path, num_workers: int) -> None:
    paths = make_paths(tmp_path, 7)
    loader = evaluation_loader(paths, [3] * 7, SMALL, batch_size=3, num_workers=num_workers)

    batches = list(loader)

    assert torch.cat([batch["indices"] for batch in batches]).tolist() == list(range(7))
    assert [len(batch["labels"]) for batch in batches] == [3, 3, 1]
    assert len(loader) == 3
    alone = list(evaluation_loader(paths, [3] * 7, SMALL, batch_size=3, num_workers=0))
    assert all(torch.equal(one["images"], two["images"]) for one, two in zip(batches, alone, strict=True))


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_ranks_share_without_padding(tmp_path: Path, world_size: int) -> None:
    paths = make_paths(tmp_path, 7)
    shares = [
        [
            index
            for batch in evaluation_loader(
                paths, [0] * 7, SMALL, batch_size=2, num_workers=0, rank=rank, world_size=world_size
            )
            for index in batch["indices"].tolist()
        ]
        for rank in range(world_size)
    ]

    assert sorted(index for share in shares for index in share) == list(range(7))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_workers_by_processor_count() -> None:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    assert loader_options(None)["num_workers"] == min(MAX_DEFAULT_WORKERS, allowed)
    assert loader_options(3)["num_workers"] == 3
    assert loader_options(3)["persistent_workers"] is True
    assert loader_options(0)["persistent_workers"] is False
    assert loader_options(0)["worker_init_fn"] is None
