"""Real processes over gloo: one sequence of samples, one log, every image scored once, with Lightning's defaults."""

from __future__ import annotations

import weakref
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import pytest
import torch
from tests.helpers.cli import WarmProgram
from tests.helpers.photos import make_photos
from tests.helpers.ranks import gloo, run_ranks
from tests.helpers.training import IMAGE_SIZE, make_model, make_trainer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from classifier_training.callbacks.ema import EMACallback
from classifier_training.data import ImageFolderDataModule, TrackingWeightedRandomSampler
from classifier_training.models import freeze_backbone
from classifier_training.models.backbone import head_parameters
from classifier_training.models.base import BaseClassificationModel
from classifier_training.types import ClassificationBatch

CLASSES = "abcdefg"
NUM_TRAIN = {name: 4 + number for number, name in enumerate(CLASSES)}  # 49: six global batches of 8, and one left over
NUM_SCORED = 499
EPOCHS = 2


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """49 to train on, 499 to validate on, 11 to test on; unevenly divided among seven classes."""
    counts = {f"train/{name}": count for name, count in NUM_TRAIN.items()}
    counts |= {f"val/{name}": 68 + number for number, name in enumerate(CLASSES)} | {"val/g": 76}
    counts |= {f"test/{name}": 1 for name in CLASSES} | {"test/a": 5}
    return make_photos(tmp_path_factory.mktemp("pictures"), counts)


# -- training ----------------------------------------------------------------------------------------------------


class Recorder(lightning.LightningModule):
    """Somebody else's module, which writes down what it sees in each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, len(CLASSES))
        self.samples: dict[int, list[list[int]]] = {}
        self.pixels: dict[int, list[list[int]]] = {}

    def training_step(self, batch: ClassificationBatch, batch_idx: int) -> Tensor:
        self.samples.setdefault(self.current_epoch, []).append(batch["indices"].tolist())
        pixels = [zlib.crc32(image.contiguous().numpy().tobytes()) for image in batch["images"]]
        self.pixels.setdefault(self.current_epoch, []).append(pixels)
        return nn.functional.cross_entropy(self.head(batch["images"].mean((2, 3))), batch["labels"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class StopAt(lightning.Callback):
    """Saves a checkpoint after a step and ends the training there."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def fit_and_record(folder: Path, world_size: int, images: str, stop_at: int | None = None, **settings: Any) -> Any:
    """Fits with Lightning's defaults, from where an earlier call stopped; what this rank saw, and its sample_log."""
    checkpoint = folder / "stopped.ckpt"
    before = checkpoint if checkpoint.is_file() else None
    data = ImageFolderDataModule(images, image_size=16, batch_size=8 // world_size, seed=3, **settings)
    model = Recorder()
    stop = [StopAt(stop_at, checkpoint)] if stop_at else []
    trainer = make_trainer(
        folder, *stop, strategy=gloo(), devices=world_size, max_epochs=EPOCHS, limit_val_batches=0, gradient_clip_val=0
    )
    trainer.fit(model, datamodule=data, ckpt_path=before, weights_only=True)
    return {
        "samples": [model.samples.get(epoch, []) for epoch in range(EPOCHS)],
        "pixels": [model.pixels.get(epoch, []) for epoch in range(EPOCHS)],
        "per_sample": [data.sample_log.counts_per_sample(epoch).tolist() for epoch in range(EPOCHS)],
        "per_class": [data.sample_log.counts_per_class(epoch).tolist() for epoch in range(EPOCHS)],
    }


def global_order(ranks: list[Any], what: str) -> list[list[int]]:
    """The sequence of each epoch over all ranks: in every step, the first image of each rank, then the second …"""
    epochs = []
    for epoch in range(EPOCHS):
        steps = zip(*(rank[what][epoch] for rank in ranks), strict=True)
        epochs.append([one for shares in steps for turn in zip(*shares, strict=True) for one in turn])
    return epochs


def assert_ledger(ranks: list[Any], seen: list[list[int]]) -> None:
    """Every rank's sample_log tells exactly what all ranks have seen in each epoch."""
    labels = [label for label, name in enumerate(CLASSES) for _ in range(NUM_TRAIN[name])]
    for rank in ranks:
        for epoch in range(EPOCHS):
            counts = Counter(seen[epoch])
            assert rank["per_sample"][epoch] == [counts[sample] for sample in range(len(labels))]
            by_class = Counter(labels[sample] for sample in seen[epoch])
            assert rank["per_class"][epoch] == [by_class[label] for label in range(len(CLASSES))]


@pytest.fixture(scope="module")
def whole(program: WarmProgram, images: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Two epochs on one process without a break, for each kind of sampler."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        balance: run_ranks(
            program, fit_and_record, 1, folder / balance, images=str(images), num_workers=0,
            balance=balance,
        )
        for balance in ("none", "sampler")
    }  # fmt: skip


@pytest.mark.parametrize("balance", ["none", "sampler"])
@pytest.mark.parametrize(("world_size", "num_workers"), [(1, 0), (2, 0), (2, 1), (4, 0)])
def test_the_ranks_together_see_the_one_sequence_and_the_ledger_tells_it(
    program: WarmProgram, images: Path, whole: Any, tmp_path: Path, world_size: int, num_workers: int, balance: str
) -> None:
    if world_size == 1:
        ranks = whole[balance]
    else:
        ranks = run_ranks(
            program, fit_and_record, world_size, tmp_path, images=str(images),
            num_workers=num_workers, balance=balance,
        )  # fmt: skip

    seen = global_order(ranks, "samples")
    assert [len(epoch) for epoch in seen] == [48, 48]
    assert seen == global_order(whole[balance], "samples")
    assert global_order(ranks, "pixels") == global_order(whole[balance], "pixels"), "augmented otherwise"
    if balance == "none":
        assert all(len(set(epoch)) == 48 for epoch in seen)
    assert_ledger(ranks, seen)


@pytest.mark.parametrize(("world_size", "num_workers", "step"), [(1, 0, 7), (1, 2, 3), (2, 0, 3), (2, 2, 7)])
def test_the_ledger_is_exact_when_training_stops_in_mid_epoch_and_goes_on(
    program: WarmProgram, images: Path, whole: Any, tmp_path: Path, world_size: int, num_workers: int, step: int
) -> None:
    options = {"images": str(images), "num_workers": num_workers, "balance": "sampler"}

    stopped = run_ranks(program, fit_and_record, world_size, tmp_path, stop_at=step, **options)
    seen = global_order(stopped, "samples")
    assert sum(map(len, seen)) == 8 * step
    assert_ledger(stopped, seen)
    resumed = run_ranks(program, fit_and_record, world_size, tmp_path, **options)
    in_all = [before + after for before, after in zip(seen, global_order(resumed, "samples"), strict=True)]

    assert in_all == global_order(whole["sampler"], "samples")
    assert_ledger(resumed, in_all)


# -- somebody else's loader --------------------------------------------------------------------------------------

WEIGHTS = [0.1, 0.5, 0.0, 2.0, 3.0, 1.0, 0.4, 0.2]


class Positions(Dataset[int]):
    def __len__(self) -> int:
        return len(WEIGHTS)

    def __getitem__(self, index: int) -> int:
        return index


class Foreign(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = [[] for _ in range(EPOCHS)]

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.seen[self.current_epoch] += batch.tolist()
        return self.weight * 1.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def make_sampler(num_samples: int) -> TrackingWeightedRandomSampler:
    return TrackingWeightedRandomSampler(WEIGHTS, num_samples, generator=torch.Generator().manual_seed(0))


def fit_foreign(folder: Path, world_size: int, num_samples: int, num_workers: int) -> Any:
    sampler, model = make_sampler(num_samples), Foreign()
    trainer = make_trainer(folder, strategy=gloo(), devices=world_size, max_epochs=EPOCHS)
    trainer.fit(model, DataLoader(Positions(), 4, sampler=sampler, num_workers=num_workers))
    kept = trainer.train_dataloader.sampler is sampler  # type: ignore[union-attr]  # there is one
    return {"seen": model.seen, "kept": kept, "last": sampler.last_indices, "length": len(sampler)}


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("num_samples", [24, 29])
def test_in_a_foreign_loader_each_rank_takes_its_share(
    program: WarmProgram, tmp_path: Path, world_size: int, num_samples: int, num_workers: int
) -> None:
    ranks = run_ranks(
        program, fit_foreign, world_size, tmp_path, num_samples=num_samples,
        num_workers=num_workers,
    )  # fmt: skip
    reference = make_sampler(num_samples)

    for epoch in range(EPOCHS):
        drawn = list(reference)
        shares = [rank["seen"][epoch] for rank in ranks]
        assert [one for turn in zip(*shares, strict=True) for one in turn] == drawn[
            : num_samples // world_size * world_size
        ]
    for rank in ranks:
        assert rank["kept"]
        assert rank["length"] == num_samples // world_size
        assert rank["last"] == reference.last_indices


# -- scoring -----------------------------------------------------------------------------------------------------


def make_scored_data(images: str, batch_size: int) -> ImageFolderDataModule:
    return ImageFolderDataModule(images, image_size=IMAGE_SIZE, batch_size=batch_size, num_workers=0, seed=3)


def make_scorer(data: ImageFolderDataModule) -> BaseClassificationModel:
    """A model that has opinions: a random one calls all images of noise the same."""
    model = make_model(classes=len(CLASSES)).eval()
    data.setup("validate")
    weight, bias = head_parameters(model.backbone)
    with torch.no_grad():
        spread, middle = torch.std_mean(model(next(iter(data.val_dataloader()))["images"]), dim=0)
        weight.div_(spread[:, None])
        bias.sub_(middle).div_(spread)
    return model


def logged(model: BaseClassificationModel, trainer: lightning.Trainer) -> dict[str, Any]:
    """All that was measured, to the last bit."""
    assert model.scores is not None
    metrics = {name: float(value).hex() for name, value in sorted(trainer.callback_metrics.items())}
    return {"confusion": model.scores.confusion.tolist(), "metrics": metrics}


def score(folder: Path, world_size: int, images: str) -> Any:
    """Validates and tests a model with Lightning's defaults."""
    answers = []
    for run, batch_size in (("validate", 64), ("test", 2)):
        data = make_scored_data(images, batch_size)
        model = make_scorer(data)
        trainer = make_trainer(folder, strategy=gloo(), devices=world_size)
        getattr(trainer, run)(model, datamodule=data, verbose=False)
        answers.append(logged(model, trainer))
    return answers


def test_all_ranks_together_score_every_image_once(program: WarmProgram, images: Path, tmp_path: Path) -> None:
    answers = []
    for world_size in (1, 2, 3):
        folder = tmp_path / str(world_size)
        answers += run_ranks(program, score, world_size, folder, images=str(images))

    validated, tested = answers[0]
    confusion = np.array(validated["confusion"])
    assert confusion.sum() == NUM_SCORED
    assert np.count_nonzero(confusion.sum(axis=0)) > 3, "the model has no opinion"
    names = ("balanced_accuracy", "loss", "macro_f1", "top1", "top5")
    assert list(validated["metrics"]) == [f"val/{name}" for name in names]
    assert list(tested["metrics"]) == [f"test/{name}" for name in names]
    assert np.sum(tested["confusion"]) == 11
    for answer in answers:
        assert answer == [validated, tested]


def fit_and_score(folder: Path, world_size: int, images: str, **strategy: bool) -> Any:
    """Trains for an epoch, in which the ranks' BatchNorm statistics part ways, and validates."""
    data = make_scored_data(images, 8)
    model = make_scorer(data)
    trainer = make_trainer(folder, EMACallback(0.5), strategy=gloo(**strategy), devices=world_size)
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(folder / "scored.ckpt")
    return logged(model, trainer)


def score_checkpoint(folder: Path, world_size: int, images: str) -> Any:
    model = BaseClassificationModel.load_from_checkpoint(folder / "scored.ckpt", weights_only=True)
    model.use_memory_format()
    trainer = make_trainer(folder)
    trainer.validate(model, datamodule=make_scored_data(images, 8), verbose=False)
    return logged(model, trainer)


@pytest.mark.parametrize("broadcast_buffers", [True, False])
def test_what_ranks_score_while_they_train_is_what_the_saved_weights_score(
    program: WarmProgram, images: Path, tmp_path: Path, broadcast_buffers: bool
) -> None:
    """Also that ranks with unequal numbers of batches (63 among 2) do not wait for each other for ever."""
    ranks = run_ranks(program, fit_and_score, 2, tmp_path, images=str(images), broadcast_buffers=broadcast_buffers)
    (alone,) = run_ranks(program, score_checkpoint, 1, tmp_path, images=str(images))

    assert np.sum(alone["confusion"]) == NUM_SCORED
    for rank in ranks:
        assert rank["confusion"] == alone["confusion"]
        assert {name: rank["metrics"][name] for name in alone["metrics"]} == alone["metrics"]


class GradientCheck(lightning.Callback):
    """Compares the gradients of every step with the mean over the ranks of what each one computes by itself."""

    def __init__(self) -> None:
        self.largest_differences: list[float] = []

    def on_train_batch_start(
        self, trainer: lightning.Trainer, model: lightning.LightningModule, batch: ClassificationBatch, batch_idx: int
    ) -> None:
        assert isinstance(model, BaseClassificationModel)
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
        loss = model.loss(model(batch["images"]), batch["labels"])
        self.expected = dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))
        for gradient in self.expected.values():
            torch.distributed.all_reduce(gradient)
            gradient /= trainer.world_size
        for name, buffer in model.named_buffers():  # as if nothing had been computed
            buffer.copy_(buffers[name])

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, model: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        parameters = dict(model.named_parameters())
        differences = [(parameters[name].grad - gradient).abs().max() for name, gradient in self.expected.items()]  # type: ignore[operator]
        self.largest_differences.append(float(max(differences)))


class SharedParameters(lightning.Callback):
    """How each step shares gradients: of how many parameters, of how many that are trained, whether it looks for more.

    Counted are also the wrappers of the module that are still alive, each with its own hooks on the gradients.
    """

    def __init__(self) -> None:
        self.seen: list[dict[str, int]] = []
        self.wrappers: list[weakref.ref[Any]] = []

    def on_train_batch_start(
        self, trainer: lightning.Trainer, model: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        wrapper = trainer.strategy.model
        assert isinstance(wrapper, DistributedDataParallel)
        if not any(one() is wrapper for one in self.wrappers):
            self.wrappers.append(weakref.ref(wrapper))
        logged = cast("Any", wrapper)._get_ddp_logging_data()
        self.seen.append(
            {
                "shared": logged["num_parameter_tensors"],
                "trained": sum(one.requires_grad for one in model.parameters()),
                "looks_for_unused": int(wrapper.find_unused_parameters),
                "alive": sum(one() is not None for one in self.wrappers),
            }
        )


def fit_frozen(
    folder: Path,
    world_size: int,
    images: str,
    *,
    freeze_epochs: int,
    as_before: bool = False,
    stop_at: int | None = None,
) -> dict[str, Any]:
    """Trains two epochs, of which the first may be frozen; from where an earlier call stopped, if one did.

    Args:
        folder: Of this call and the one before.
        world_size: Number of processes.
        images: Folder.
        freeze_epochs: Of the model.
        as_before: Look for unused parameters at every step, as version 0.1 did, and wrap the model once.
        stop_at: Save after this step, and end there.
    """
    checkpoint = folder / "stopped.ckpt"
    before = checkpoint if checkpoint.is_file() else None
    data = make_scored_data(images, 8)
    data.setup("fit")
    torch.manual_seed(5)
    settings = {"freeze_epochs": freeze_epochs, "channels_last": True}
    model = BaseClassificationModel("test_resnet", data.classes, settings=settings, preprocessing=data.preprocessing)
    check, shared = GradientCheck(), SharedParameters()
    stop = [] if stop_at is None else [StopAt(stop_at, checkpoint)]
    options = {"find_unused_parameters": True} if as_before else {"gradient_as_bucket_view": True}
    if as_before:  # this process is forked for this call
        freeze_backbone.__dict__["_share_gradients_anew"] = lambda _: None
    trainer = make_trainer(
        folder,
        *(check, shared, *stop),
        strategy=gloo(broadcast_buffers=False, **options),
        devices=world_size,
        limit_val_batches=0,
        max_epochs=2,
        gradient_clip_val=0,
    )
    trainer.fit(model, datamodule=data, ckpt_path=before, weights_only=True)
    state = {key: zlib.crc32(value.contiguous().numpy().tobytes()) for key, value in model.state_dict().items()}
    return {"differences": check.largest_differences, "shared": shared.seen, "state": state}


@pytest.fixture(scope="module")
def frozen_first(program: WarmProgram, images: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What the ranks of a training see whose backbone is frozen for an epoch."""
    return run_ranks(program, fit_frozen, 2, tmp_path_factory.mktemp("frozen"), images=str(images), freeze_epochs=1)


@pytest.mark.parametrize("freeze_epochs", [0, 1])
def test_the_gradients_of_every_step_are_the_mean_over_the_ranks(
    program: WarmProgram, images: Path, tmp_path: Path, freeze_epochs: int, frozen_first: list[Any]
) -> None:
    """With weights in another memory format than the one that they were made in."""
    ranks = frozen_first
    if not freeze_epochs:
        ranks = run_ranks(program, fit_frozen, 2, tmp_path, images=str(images), freeze_epochs=0)

    for rank in ranks:
        assert len(rank["differences"]) == 6
        assert max(rank["differences"]) < 1e-4


def test_a_frozen_backbone_costs_no_search_for_unused_parameters(
    program: WarmProgram, images: Path, tmp_path: Path, frozen_first: list[Any]
) -> None:
    """Neither while it is frozen nor after; the weights are those that the search gave, also after a resume."""
    options: dict[str, Any] = {"images": str(images), "freeze_epochs": 1}
    ranks = frozen_first
    searched = run_ranks(program, fit_frozen, 2, tmp_path / "before", as_before=True, **options)
    for stop_at in (1, None):
        resumed = run_ranks(program, fit_frozen, 2, tmp_path / "resumed", stop_at=stop_at, **options)

    frozen, free = ranks[0]["shared"][:3], ranks[0]["shared"][3:]
    assert [step["shared"] for step in frozen] == [2, 2, 2]
    assert {step["shared"] for step in free} == {searched[0]["shared"][0]["shared"]}
    for step in ranks[0]["shared"] + resumed[0]["shared"]:
        assert step["shared"] == step["trained"]
        assert (step["looks_for_unused"], step["alive"]) == (0, 1)
    assert all(step["looks_for_unused"] for step in searched[0]["shared"])
    for rank, rank_searched, rank_resumed in zip(ranks, searched, resumed, strict=True):
        assert rank["state"] == rank_searched["state"] == rank_resumed["state"]
