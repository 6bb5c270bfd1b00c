"""Which images a process scores, and how a loader shows that it is already shared among processes."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import TypeVar, cast

from torch.utils.data import DataLoader, DistributedSampler, SequentialSampler

from classifier_training.errors import DataError

_Batch = TypeVar("_Batch")


class AlreadyShared(SequentialSampler, DistributedSampler[int]):
    """A sampler that Lightning leaves as it is, because the loader gives this process its share and no more.

    Lightning replaces what is not a `DistributedSampler` where there are several processes, and what is not a
    `SequentialSampler` under ``overfit_batches``.

    Args:
        data_source: The dataset.
    """


class EvaluationShare(AlreadyShared):
    """A process's share of the images to score: whole batches in file order, dealt out like cards.

    Nothing is padded, so no image counts twice; and an image is in the same batch however many processes there are,
    so its logits are the same bits. Only where there are fewer batches than processes are they made smaller, because
    a process without any would leave the others waiting for it.

    Args:
        num_images: Number of images, over all processes.
        batch_size: Images in a batch, at most.
        rank: This process.
        world_size: Number of processes.

    Attributes:
        batch_size: Images in each batch but the last; the loader must cut the share into batches of this size.

    Raises:
        DataError: There are fewer images than processes.
    """

    def __init__(self, num_images: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        if 0 < num_images < world_size:
            raise DataError(
                f"{num_images} image(s) to score cannot be shared among {world_size} processes; give more images, or"
                " use fewer processes (trainer.devices, trainer.num_nodes)"
            )
        super().__init__(range(num_images))
        self.num_images = num_images
        self.batch_size = min(batch_size, max(1, num_images // world_size))
        self.rank = rank
        self.num_replicas = world_size

    def __len__(self) -> int:
        return sum(map(len, self._batches()))

    def __iter__(self) -> Iterator[int]:
        for batch in self._batches():
            yield from batch

    def _batches(self) -> Iterator[range]:
        step = self.batch_size * self.num_replicas
        for first in range(self.rank * self.batch_size, self.num_images, step):
            yield range(first, min(first + self.batch_size, self.num_images))


def keep_shared(loader: DataLoader[_Batch]) -> DataLoader[_Batch]:
    """Makes Lightning leave a loader alone whose batch sampler already takes this process's share.

    Lightning inspects ``loader.sampler``, which means nothing next to a batch sampler: torch sets it to a
    `SequentialSampler`, which Lightning would replace, and fail to, where there are several processes.
    """
    # past the loader's own guard, which is for samplers that are in use
    vars(loader)["sampler"] = AlreadyShared(cast("Sized", loader.dataset))
    return loader
