from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from tests.helpers.images import make_image, make_pixels
from torch import Tensor

from classifier_training.config.schema import DataConfig
from classifier_training.data.loading.batch_plan import BatchPlan
from classifier_training.data.loading.dataset import EvaluationDataset, TrainDataset
from classifier_training.data.loading.loaders import (
    BatchLoader,
    evaluation_loader,
    loader_options,
    train_loader,
)
from classifier_training.data.loading.mixing import BatchMixer
from classifier_training.data.loading.normalize import normalize_batch
from classifier_training.data.loading.transforms import TrainTransform
from classifier_training.data.sampling.batches import EpochBatchSampler
from classifier_training.data.sampling.sampler import ShuffleSampler
from classifier_training.errors import BadImageError
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import preprocess
from classifier_training.run.cpus import MAX_LOADER_PROCESSES, decide_loader_processes
from classifier_training.types import ClassificationBatch, ImageRecord, Preprocessing

SMALL = Preprocessing(image_size=16)
STRONG = DataConfig(
    vflip=0.5,
    auto_augment="randaugment",
    color_jitter=0.5,
    hue=0.1,
    grayscale=0.2,
    gaussian_blur=0.5,
    random_erasing=0.5,
    mixup=0.8,
    mix_prob=0.7,
)
needs_fork = pytest.mark.skipif(
    torch.multiprocessing.get_start_method() != "fork", reason="memory is shared by forking only"
)
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
ROOT = Path(__file__).parents[4]


def make_records(root: Path, count: int) -> list[ImageRecord]:
    paths = [root / f"{number}.{'png' if number % 3 else 'jpg'}" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            make_image(path, make_pixels(40 + number, 30, seed=number))
    return [ImageRecord(str(path)) for path in paths]


def make_train_loader(
    root: Path, num_workers: int, count: int = 60, normalization: Preprocessing | None = None, **options: Any
) -> BatchLoader:
    transform, plan = TrainTransform(SMALL, STRONG), BatchPlan(mixer=BatchMixer(STRONG, 7, seed=0))
    dataset = TrainDataset(make_records(root, count), np.arange(count) % 7, transform, 0, plan=plan)
    batches = EpochBatchSampler(ShuffleSampler(count, 0), 4)
    num_epochs = options.pop("num_epochs", None)
    if not options:
        return train_loader(
            dataset, batches, num_workers=num_workers, num_epochs=num_epochs, normalization=normalization
        )
    settings = loader_options(num_workers) | {"batch_sampler": batches} | options
    return BatchLoader(dataset, normalization=normalization, **settings)


def make_evaluation_loader(root: Path, count: int = 7, batch_size: int = 3, **options: Any) -> BatchLoader:
    dataset = EvaluationDataset(make_records(root, count), np.full(count, 3), SMALL)
    return evaluation_loader(dataset, batch_size, **options)


def assert_same(batches: list[ClassificationBatch], expected: list[ClassificationBatch]) -> None:
    assert len(batches) == len(expected)
    for one, other in zip(batches, expected, strict=True):
        assert torch.equal(one["images"], other["images"])
        assert torch.equal(one["labels"], other["labels"])
        assert torch.equal(one["indices"], other["indices"])
        assert one.keys() == other.keys()
        for name in ("colour_maps", "erased"):
            assert torch.equal(*(cast("Tensor", batch.get(name, torch.empty(0))) for batch in (one, other)))
        assert one.get("mix") == other.get("mix")


def num_taken(loader: BatchLoader) -> int:
    """Places of the loader's shared memory that hold a batch."""
    iterator: Any = loader._iterator
    return int(iterator.batch_memory.num_taken)


# -- the same bits -----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_training_batches_have_the_same_bits_for_any_number_of_workers(tmp_path: Path, num_workers: int) -> None:
    alone, loader = make_train_loader(tmp_path, 0), make_train_loader(tmp_path, num_workers)

    for _ in range(2):  # all batches are held, more than there are slots for
        assert_same(list(loader), list(alone))


@pytest.mark.parametrize("options", [
    {"prefetch_factor": 1},
    {"prefetch_factor": 7},
    {"persistent_workers": False},
    {"multiprocessing_context": "spawn"},
])  # fmt: skip
def test_training_batches_have_the_same_bits_however_they_are_loaded(tmp_path: Path, options: dict[str, Any]) -> None:
    loader = make_train_loader(tmp_path, 1, 16, **options)

    assert_same(list(loader), list(make_train_loader(tmp_path, 0, 16)))


def test_the_batch_size_does_not_change_an_image(tmp_path: Path) -> None:
    images: list[dict[int, torch.Tensor]] = []
    for batch_size in (4, 5, 20):
        loader = make_train_loader(tmp_path, 0, 20, batch_sampler=EpochBatchSampler(ShuffleSampler(20, 0), batch_size))
        images.append(
            {int(i): image for batch in loader for image, i in zip(batch["images"], batch["indices"], strict=True)}
        )

    assert set(images[0]) == set(images[1]) == set(images[2]) == set(range(20))
    assert all(torch.equal(images[0][i], other[i]) for other in images[1:] for i in range(20))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_image_once_in_file_order(tmp_path: Path, num_workers: int) -> None:
    loader = make_evaluation_loader(tmp_path, num_workers=num_workers)

    batches = list(loader)

    assert torch.cat([batch["indices"] for batch in batches]).tolist() == list(range(7))
    assert [batch["labels"].tolist() for batch in batches] == [[3] * 3, [3] * 3, [3]]
    assert len(loader) == 3
    assert_same(list(loader), batches)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_has_the_very_bits_of_the_deployed_preprocessing(tmp_path: Path, num_workers: int) -> None:
    images = torch.cat([batch["images"] for batch in make_evaluation_loader(tmp_path, num_workers=num_workers)])

    expected = np.stack([preprocess(decode_image(record), SMALL) for record in make_records(tmp_path, 7)])
    assert images.dtype == torch.float32
    np.testing.assert_array_equal(images.numpy(), expected)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_come_as_uint8_or_normalised(tmp_path: Path, num_workers: int) -> None:
    raw, floats = (make_train_loader(tmp_path, num_workers, 12, normalization) for normalization in (None, SMALL))
    raw_to_score, to_score = (
        make_evaluation_loader(tmp_path, num_workers=num_workers, as_float=as_float) for as_float in (False, True)
    )

    for pixels, images in ((raw, floats), (raw_to_score, to_score)):
        for one, other in zip(pixels, images, strict=True):
            assert one["images"].dtype == torch.uint8
            assert one["images"].is_contiguous(memory_format=torch.channels_last)
            normalized = normalize_batch(one, SMALL)
            assert torch.equal(normalized["images"], other["images"])
            assert torch.equal(normalized["labels"], other["labels"])


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_ranks_share_without_padding(tmp_path: Path, world_size: int) -> None:
    shares = [
        [
            index
            for batch in make_evaluation_loader(tmp_path, batch_size=2, num_workers=0, rank=rank, world_size=world_size)
            for index in batch["indices"].tolist()
        ]
        for rank in range(world_size)
    ]

    assert sorted(index for share in shares for index in share) == list(range(7))
    assert all(shares)


# -- one epoch after the other -----------------------------------------------------------------------------------


def num_ahead(loader: BatchLoader) -> int:
    """Batches that the loader's processes were told to make, and that were not given yet."""
    iterator: Any = loader._iterator
    return int(iterator._send_idx - iterator._rcvd_idx)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_epochs_are_those_of_a_loader_without_processes_in_whichever_order_they_are_asked_for(
    tmp_path: Path, num_workers: int
) -> None:
    alone, loader = (make_train_loader(tmp_path, count, 20) for count in (0, num_workers))

    def epochs(loader: Any) -> Iterator[list[ClassificationBatch]]:
        batches: EpochBatchSampler = loader.batch_sampler
        batches.seek(1, 2)
        yield from (list(loader) for _ in range(3))
        yield [next(iter(loader))]  # and leaves that epoch
        yield list(loader)
        batches.sampler.set_epoch(2)
        yield list(loader)
        batches.seek(3, 4)
        yield list(loader)
        batches.seek(4, 5)
        yield from (list(loader) for _ in range(2))
        assert batches.sampler.epoch == 6, "what is loaded ahead does not count as begun"

    found = list(epochs(loader))

    for batches, expected in zip(found, epochs(alone), strict=True):
        assert_same(batches, expected)
    assert [len(batches) for batches in found] == [3, 5, 5, 1, 5, 5, 1, 0, 5]


@pytest.mark.parametrize("num_epochs", [None, 2])
def test_the_next_epoch_is_begun_before_it_is_asked_for_unless_there_is_none(
    tmp_path: Path, num_epochs: int | None
) -> None:
    loader = make_train_loader(tmp_path, 2, 20, num_epochs=num_epochs)

    for is_last in (False, num_epochs == 2):
        assert len(list(loader)) == len(loader) == 5
        assert num_ahead(loader) == (0 if is_last else 4)


def test_a_loader_that_ends_goes_on_as_it_should_when_asked_for_more_epochs(tmp_path: Path) -> None:
    alone, loader = (make_train_loader(tmp_path, count, 20, num_epochs=1) for count in (0, 2))

    for _ in range(3):
        assert_same(list(loader), list(alone))


def test_an_error_in_what_is_loaded_ahead_is_raised_in_its_epoch(tmp_path: Path) -> None:
    loader = make_train_loader(tmp_path, 1, 4)
    batches: Any = loader.batch_sampler
    for path in tmp_path.iterdir():
        path.write_bytes(b"")

    for epoch in range(3):  # of one batch each, so that two are loaded ahead
        with pytest.raises(BadImageError, match="the file is empty"):
            list(loader)
        assert batches.sampler.epoch == epoch + 1
        assert num_ahead(loader) == 2


# -- shared memory -----------------------------------------------------------------------------------------------


@needs_fork
def test_batches_come_through_shared_memory_and_give_it_back(tmp_path: Path) -> None:
    loader = make_train_loader(tmp_path, 2, num_epochs=1)
    expected = iter(make_train_loader(tmp_path, 0))

    held: list[ClassificationBatch] = []
    for batch in loader:
        held.append(batch)
        if len(held) == 8:
            assert num_taken(loader) == 8  # all slots; what comes now is sent as torch sends it
            assert_same(held, [next(expected) for _ in range(8)])
            held.clear()
    assert_same(held, list(expected))
    del batch
    held.clear()

    assert num_taken(loader) == 0


@needs_fork
def test_a_held_batch_is_not_overwritten(tmp_path: Path) -> None:
    loader = make_train_loader(tmp_path, 2)
    first = next(iter(loader))
    images, labels = first["images"].clone(), first["labels"].clone()

    for _ in range(3):
        for _batch in loader:
            pass

    assert torch.equal(first["images"], images)
    assert torch.equal(first["labels"], labels)


@needs_fork
@pytest.mark.parametrize("num_read", [0, 1, 3])
def test_an_epoch_that_is_left_gives_its_memory_back(tmp_path: Path, num_read: int) -> None:
    loader = make_evaluation_loader(tmp_path, 20, num_workers=2)
    expected = list(make_evaluation_loader(tmp_path, 20, num_workers=0))

    for _ in range(4):
        batches = iter(loader)
        for _ in range(num_read):
            next(batches)
    del batches

    assert_same(list(loader), expected)
    assert num_taken(loader) == 0


@needs_fork
def test_two_iterations_at_once_do_not_share_slots(tmp_path: Path) -> None:
    loader = make_evaluation_loader(tmp_path, 20, batch_size=2, num_workers=1)
    loader = BatchLoader(loader.dataset, batch_size=2, **loader_options(1) | {"persistent_workers": False})  # type: ignore[arg-type]
    expected = list(make_evaluation_loader(tmp_path, 20, batch_size=2, num_workers=0, as_float=False))

    pairs = list(zip(loader, loader, strict=True))

    assert_same([one for one, _ in pairs], expected)
    assert_same([other for _, other in pairs], expected)


@needs_fork
def test_restarted_workers_get_new_memory(tmp_path: Path) -> None:
    loader = make_evaluation_loader(tmp_path, 20, num_workers=2, as_float=False)
    expected = list(make_evaluation_loader(tmp_path, 20, num_workers=0, as_float=False))
    held = next(iter(loader))

    iterator: Any = loader._iterator
    iterator._shutdown_workers()
    loader._iterator = None

    assert_same(list(loader), expected)
    assert_same([held], expected[:1])


# -- trouble -----------------------------------------------------------------------------------------------------


@needs_fork
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_file_is_named_and_the_loader_continues_in_the_next_epoch(tmp_path: Path, num_workers: int) -> None:
    loader = make_evaluation_loader(tmp_path, 20, num_workers=num_workers, as_float=False)
    expected, path = list(loader), tmp_path / "7.png"
    content = path.read_bytes()

    path.write_bytes(b"")
    for _ in range(6):
        with pytest.raises(BadImageError) as caught:
            list(loader)
        assert str(caught.value) == f"cannot read {path}: the file is empty"

    path.write_bytes(content)
    assert_same(list(loader), expected)
    expected.clear()
    assert num_workers == 0 or num_taken(loader) == 0


@needs_fork
def test_a_worker_that_dies_is_an_error(tmp_path: Path) -> None:
    loader = make_train_loader(tmp_path, 1, 200)
    batches, processes = iter(loader), cast("Any", loader._iterator)
    next(batches)

    os.kill(processes._workers[0].pid, signal.SIGKILL)

    with pytest.raises(RuntimeError, match=r"killed by signal|exited unexpectedly"):
        list(batches)


@needs_fork
def test_a_program_that_ends_with_a_loader_at_work_ends_quietly(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.unit.data.loading.test_loaders import make_train_loader;"
        "batches = iter(make_train_loader(Path(sys.argv[1]), 2)); next(batches)"
    )

    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


# -- options -----------------------------------------------------------------------------------------------------


def test_workers_by_processor_count() -> None:
    assert loader_options(None)["num_workers"] == decide_loader_processes(None).count <= MAX_LOADER_PROCESSES
    assert loader_options(3)["num_workers"] == 3
    assert loader_options(3)["persistent_workers"] is True
    assert loader_options(0)["persistent_workers"] is False
    assert loader_options(0)["worker_init_fn"] is None
    assert loader_options(0)["prefetch_factor"] is None


@needs_fork
def test_batches_of_views_come_through_shared_memory(tmp_path: Path) -> None:
    records = make_records(tmp_path, 5)
    dataset = EvaluationDataset(records, np.arange(5), SMALL, tta="five")
    loader = evaluation_loader(dataset, 2, num_workers=1, as_float=False)

    batches = list(loader)

    expected = list(evaluation_loader(dataset, 2, num_workers=0, as_float=False))
    assert [tuple(batch["images"].shape) for batch in batches] == [(10, 3, 16, 16), (10, 3, 16, 16), (5, 3, 16, 16)]
    for batch, same in zip(batches, expected, strict=True):
        assert all(torch.equal(batch[name], same[name]) for name in ("images", "labels", "indices"))
