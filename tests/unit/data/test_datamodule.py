from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any, cast

import lightning
import pytest
import torch
from tests.helpers.photos import make_photos, make_split_photos
from tests.helpers.training import LIGHTNING_NOTICES, make_trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from classifier_training.config.schema import DataConfig
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.data.sampling.batches import EpochBatchSampler
from classifier_training.data.sampling.sampler import TrackingWeightedRandomSampler
from classifier_training.data.sampling.weights import class_weights
from classifier_training.errors import ConfigError, DataError
from classifier_training.inference.labels import read_labels_mapping
from classifier_training.types import ClassificationBatch, Preprocessing


def make_data(root: Path, seed: int = 0, **settings: Any) -> ImageFolderDataModule:
    data = ImageFolderDataModule(
        root,
        seed=seed,
        **{"image_size": 16, "batch_size": 4, "num_workers": 0, "auto_augment": "randaugment", **settings},
    )
    data.setup("fit")
    return data


def batch_sampler(loader: DataLoader[ClassificationBatch]) -> EpochBatchSampler:
    assert isinstance(loader.batch_sampler, EpochBatchSampler)
    return loader.batch_sampler


LEAVE_NO_PHOTO = (
    "data.val_fraction=0.6 (argument), data.test_fraction=0.5 (argument): leave no photo for training;"
    " their sum must be below 1"
)
NO_SUCH_BALANCE = (
    "data.balance=samplr (argument): must be one of none, sampler, loss_weights, logit_adjustment;"
    " did you mean sampler?"
)


# -- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"batch_size": -1}, ["data.batch_size=-1 (argument): must be a whole number, at least 1, or auto"]),
        ({"batch_size": "4"}, ["data.batch_size=4 (argument): must be a whole number, at least 1, or auto"]),
        ({"batchsize": 3}, ["data.batchsize=3 (argument): no such setting; did you mean data.batch_size?"]),
        ({"balance": "samplr"}, [NO_SUCH_BALANCE]),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, [LEAVE_NO_PHOTO]),
        (
            {"hflip": 2.0, "no_such": None, "num_workers": -3},
            [
                "data.no_such=null (argument): no such setting; `classifier-training config options` lists all",
                "data.num_workers=-3 (argument): must be a whole number, at least 0, or null",
                "data.hflip=2 (argument): must be a number, at least 0 and at most 1",
            ],
        ),
    ],
)
def test_a_wrong_setting_is_one_line_as_on_the_command_line(settings: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        ImageFolderDataModule("photos", **settings)

    assert str(caught.value).splitlines() == lines


def test_settings_change_a_configuration() -> None:
    base = DataConfig(root="a", batch_size=7, class_weights={"00": 1.0}, balance="sampler", balance_weighting="manual")

    data = ImageFolderDataModule(Path("b"), config=base, hflip=0.0)

    assert data.config == base.model_copy(update={"root": "b", "hflip": 0.0})
    assert ImageFolderDataModule(config=base).config == base
    assert ImageFolderDataModule().config == DataConfig()


def test_the_preprocessing_has_the_sizes_that_are_set() -> None:
    assert ImageFolderDataModule("a").preprocessing == Preprocessing()
    assert ImageFolderDataModule("a", image_size=64, crop_pct=0.9).preprocessing == Preprocessing(64, 0.9)
    given = Preprocessing(image_size=32, crop_pct=1.0)
    assert ImageFolderDataModule("a", preprocessing=given, image_size=32).preprocessing is given


@pytest.mark.parametrize("settings", [{"image_size": 64}, {"crop_pct": 0.5}])
def test_two_preprocessings_that_disagree(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"^data\.{next(iter(settings))}=.*; give one of them$"):
        ImageFolderDataModule("a", preprocessing=Preprocessing(32), **settings)


# -- photos ------------------------------------------------------------------------------------------------------


def test_before_setup_and_without_photos(tmp_path: Path) -> None:
    data = ImageFolderDataModule(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"call setup\(\) first"):
        _ = data.classes
    with pytest.raises(DataError, match="there is no folder"):
        data.setup("fit")
    with pytest.raises(DataError, match="no photos given"):
        ImageFolderDataModule().setup("fit")


def test_classes_and_counts_come_from_training_in_lexicographic_order(tmp_path: Path) -> None:
    counts = {"9": 2, "10": 3, "B": 1, "a": 1}
    make_photos(tmp_path, {f"train/{name}": count for name, count in counts.items()})
    make_photos(tmp_path, {"val/a": 5, "val/10": 1}, first_seed=100)

    data = make_data(tmp_path)

    assert data.classes == ("10", "9", "B", "a")
    assert data.class_to_idx == {"10": 0, "9": 1, "B": 2, "a": 3}
    assert data.class_counts == [3, 2, 1, 1]
    assert data.num_classes == 4


def test_the_log_of_samples_has_its_name_of_version_0_1(tmp_path: Path) -> None:
    data = make_data(make_photos(tmp_path, {"a": 8, "b": 8}))
    with pytest.warns(DeprecationWarning, match="now called sample_log"), pytest.raises(DataError, match="sampled yet"):
        _ = data.ledger
    data.setup("fit")
    data.train_dataloader()
    with pytest.warns(DeprecationWarning, match="now called sample_log"):
        assert data.ledger.counts_per_class(0).tolist() == data.sample_log.counts_per_class(0).tolist()


def test_setup_loads_once(tmp_path: Path) -> None:
    data = make_data(make_split_photos(tmp_path))
    photos = data.photos

    data.setup("test")

    assert data.photos is photos
    assert ImageFolderDataModule(photos=photos).classes == ("cat", "dog")


def test_the_labels_mapping(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", {f"{split}/{name}": 1 for split in ("train", "val") for name in ("00", "é", "no")})
    preprocessing = Preprocessing(image_size=16, crop_pct=0.9, mean=(0.5, 0.5, 0.5), std=(0.1, 0.2, 0.3))
    data = ImageFolderDataModule(tmp_path / "photos", preprocessing=preprocessing)
    data.setup()

    path = data.save_labels_mapping(tmp_path / "new" / "mapping.json")

    assert path == tmp_path / "new" / "mapping.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "num_classes": 3,
        "class_to_idx": {"00": 0, "no": 1, "é": 2},
        "idx_to_class": {"0": "00", "1": "no", "2": "é"},
        "normalization": {"mean": [0.5, 0.5, 0.5], "std": [0.1, 0.2, 0.3]},
        "preprocessing": {
            "image_size": 16,
            "crop_pct": 0.9,
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.1, 0.2, 0.3],
        },
    }
    assert read_labels_mapping(path).preprocessing == preprocessing
    assert data.save_labels_mapping(tmp_path) == tmp_path / "labels_mapping.json"
    assert (tmp_path / "labels_mapping.json").read_bytes() == path.read_bytes()


# -- batches -----------------------------------------------------------------------------------------------------


def assert_classification_batch(batch: ClassificationBatch, size: int) -> None:
    assert set(batch) == {"images", "labels", "indices"}
    assert (batch["images"].shape, batch["images"].dtype) == ((size, 3, 16, 16), torch.float32)
    assert (batch["labels"].shape, batch["labels"].dtype) == ((size,), torch.int64)
    assert (batch["indices"].shape, batch["indices"].dtype) == ((size,), torch.int64)


def test_batches_are_classification_batches(tmp_path: Path) -> None:
    data = make_data(make_split_photos(tmp_path, 5, 3, 1))

    for batch in data.train_dataloader():
        assert_classification_batch(batch, 4)
    assert [len(batch["labels"]) for batch in data.train_dataloader()] == [4, 4]
    for batch, size in zip(data.val_dataloader(), [4, 2], strict=True):
        assert_classification_batch(batch, size)
    assert_classification_batch(next(iter(data.test_dataloader())), 2)


@pytest.mark.parametrize("balance", ["none", "sampler"])
def test_labels_belong_to_their_images(tmp_path: Path, balance: str) -> None:
    data = make_data(make_split_photos(tmp_path, 5, 3, 1), balance=balance)

    for split, loader in (("train", data.train_dataloader()), ("val", data.val_dataloader())):
        labels = data.photos.labels("train" if split == "train" else "val")
        for batch in loader:
            assert batch["labels"].tolist() == [labels[index] for index in batch["indices"].tolist()]


def test_the_test_falls_back_to_validation(tmp_path: Path) -> None:
    data = make_data(make_split_photos(tmp_path, 3, 2, 0))

    one, other = next(iter(data.test_dataloader())), next(iter(data.val_dataloader()))

    assert torch.equal(one["images"], other["images"])


def first_epochs(data: ImageFolderDataModule, count: int = 2) -> list[list[ClassificationBatch]]:
    loader = data.train_dataloader()
    return [list(loader) for _ in range(count)]


def flat(epochs: list[list[ClassificationBatch]]) -> list[Tensor]:
    return [batch["images"] for batch in itertools.chain(*epochs)]


@pytest.mark.parametrize("balance", ["none", "sampler"])
@pytest.mark.parametrize("num_workers", [1, 2])
def test_two_epochs_are_the_same_bits_for_any_number_of_workers(tmp_path: Path, balance: str, num_workers: int) -> None:
    make_split_photos(tmp_path, 6, 1, 0)
    alone = flat(first_epochs(make_data(tmp_path, balance=balance)))

    parallel = flat(first_epochs(make_data(tmp_path, balance=balance, num_workers=num_workers)))

    assert all(torch.equal(one, other) for one, other in zip(alone, parallel, strict=True))


def test_training_depends_on_the_seed_only(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 6, 1, 0)
    expected = flat(first_epochs(make_data(tmp_path)))

    with torch.random.fork_rng():
        torch.manual_seed(4321)
        again = flat(first_epochs(make_data(tmp_path)))
    other = flat(first_epochs(make_data(tmp_path, seed=1)))

    assert all(torch.equal(one, two) for one, two in zip(expected, again, strict=True))
    assert not any(torch.equal(one, two) for one, two in zip(expected, other, strict=True))
    assert not any(torch.equal(one, two) for one, two in itertools.combinations(expected, 2))


# -- balance -----------------------------------------------------------------------------------------------------


def test_the_balanced_sampler_samples_by_class_weight(tmp_path: Path) -> None:
    make_photos(tmp_path, {"train/a": 18, "train/b": 2, "val/a": 1, "val/b": 1})
    data = make_data(tmp_path, balance="sampler", balance_weighting="inverse_sqrt")

    sampler = batch_sampler(data.train_dataloader()).sampler

    assert isinstance(sampler, TrackingWeightedRandomSampler)
    weights = class_weights([18, 2], "inverse_sqrt")
    assert data.class_weights() == weights
    assert sampler.weights.tolist() == pytest.approx([weights[0]] * 18 + [weights[1]] * 2)
    assert len(sampler) == 20
    sampler.num_samples = 4000
    list(sampler)
    # 18 / sqrt(18) to 2 / sqrt(2) is 3 to 1
    assert sampler.counts_per_class(data.photos.labels("train")) == pytest.approx([3000, 1000], abs=120)


@pytest.mark.parametrize("balance", ["none", "loss_weights", "logit_adjustment"])
def test_other_corrections_leave_the_sampling_alone(tmp_path: Path, balance: str) -> None:
    make_photos(tmp_path, {"train/a": 8, "train/b": 2, "val/a": 1, "val/b": 1})
    loader = make_data(tmp_path, balance=balance, batch_size=5).train_dataloader()

    sampled = [index for batch in loader for index in batch["indices"].tolist()]

    assert sorted(sampled) == list(range(10))


def test_weights_by_hand(tmp_path: Path) -> None:
    make_split_photos(tmp_path, 2, 1, 0)
    by_hand: dict[str, Any] = {"balance": "sampler", "balance_weighting": "manual"}

    assert make_data(tmp_path, **by_hand, class_weights={"dog": 3.0, "cat": 0.5}).class_weights() == [0.5, 3.0]
    with pytest.raises(
        ConfigError, match="lacks 'cat' and names 'cow', which is not a class; the classes are 'cat', 'dog'"
    ):
        make_data(tmp_path, **by_hand, class_weights={"dog": 3.0, "cow": 0.5}).train_dataloader()


# -- in a Trainer ------------------------------------------------------------------------------------------------


class Recorder(lightning.LightningModule):
    """Somebody else's module: learns, and writes down which images it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.seen: dict[int, list[list[int]]] = {}
        self.scored: list[int] = []

    def training_step(self, batch: ClassificationBatch, batch_idx: int) -> Tensor:
        self.seen.setdefault(self.current_epoch, []).append(batch["indices"].tolist())
        return nn.functional.cross_entropy(self.head(batch["images"].mean((2, 3))), batch["labels"])

    def validation_step(self, batch: ClassificationBatch, batch_idx: int) -> None:
        self.scored += batch["indices"].tolist()

    def test_step(self, batch: ClassificationBatch, batch_idx: int) -> None:
        self.scored += batch["indices"].tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class SaveAt(lightning.Callback):
    """Saves a checkpoint after some optimizer step."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


class TestInATrainer:
    pytestmark = LIGHTNING_NOTICES

    @pytest.mark.parametrize("num_workers", [0, 1])
    @pytest.mark.parametrize("balance", ["none", "sampler"])
    def test_it_fits_two_epochs(self, tmp_path: Path, balance: str, num_workers: int) -> None:
        data = make_data(make_split_photos(tmp_path, 6, 3, 2), balance=balance, num_workers=num_workers)
        model = Recorder()
        trainer = make_trainer(tmp_path, max_epochs=2)

        trainer.fit(model, datamodule=data)

        sampler = batch_sampler(make_data(tmp_path, balance=balance).train_dataloader())
        expected = {epoch: [batch.indices.tolist() for batch in sampler] for epoch in range(2)}
        assert model.seen == expected
        assert model.scored == [*range(6), *range(6)]
        model.scored = []
        trainer.test(model, datamodule=data, verbose=False)
        assert model.scored == [*range(4)]

    @pytest.mark.parametrize("num_workers", [0, 1])
    @pytest.mark.parametrize("step", [1, 3, 4, 6, 8])
    def test_a_resumed_run_resumes_with_the_very_next_batch(self, tmp_path: Path, step: int, num_workers: int) -> None:
        make_split_photos(tmp_path, 6, 1, 0)
        whole, resumed = Recorder(), Recorder()
        saving = SaveAt(step, tmp_path / "mid.ckpt")
        make_trainer(tmp_path, saving, max_epochs=3).fit(whole, datamodule=make_data(tmp_path))

        data = make_data(tmp_path, num_workers=num_workers)
        make_trainer(tmp_path, max_epochs=3).fit(
            resumed, datamodule=data, ckpt_path=tmp_path / "mid.ckpt", weights_only=True
        )

        batches = list(itertools.chain(*whole.seen.values()))
        assert len(batches) == 9
        assert list(itertools.chain(*resumed.seen.values())) == batches[step:]

    def test_ranks_are_asked_of_the_trainer(self, tmp_path: Path) -> None:
        data = make_data(make_split_photos(tmp_path, 6, 3, 0))

        class TwoProcesses:
            global_rank, world_size = 1, 2
            fit_loop = make_trainer(tmp_path).fit_loop
            state = make_trainer(tmp_path).state

        data.trainer = cast("lightning.Trainer", TwoProcesses())

        sampler = batch_sampler(data.train_dataloader())
        assert (sampler.rank, sampler.world_size) == (1, 2)
        assert [batch["indices"].tolist() for batch in data.val_dataloader()] == [[3, 4, 5]]
