"""`ImageFolderDataModule`: photos in, batches out."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerStatus
from torch.utils.data import DataLoader

from classifier_training.config.schema import DataConfig
from classifier_training.data.cache.caches import Caches, open_caches, reduced_side
from classifier_training.data.loading.batch_plan import BatchPlan
from classifier_training.data.loading.dataset import EvaluationDataset, TrainDataset
from classifier_training.data.loading.loaders import evaluation_loader, num_loader_processes, train_loader
from classifier_training.data.loading.normalize import normalize_batch
from classifier_training.data.loading.policies import AUGMENTATION
from classifier_training.data.loading.transforms import TrainTransform
from classifier_training.data.photos import Photos, load_photos
from classifier_training.data.sampling.batches import EpochBatchSampler
from classifier_training.data.sampling.counts import SampleLog, batches_seen
from classifier_training.data.sampling.evaluation import keep_shared
from classifier_training.data.sampling.repeated import RepeatedSampler
from classifier_training.data.sampling.sampler import EpochSampler, ShuffleSampler, TrackingWeightedRandomSampler
from classifier_training.data.sampling.weights import class_weights, weights_by_name
from classifier_training.data.settings import merged_preprocessing, with_settings
from classifier_training.errors import CheckpointError, DataError
from classifier_training.files.atomic import write_json
from classifier_training.inference.labels import labels_mapping
from classifier_training.run.folder import ExportFolder
from classifier_training.types import ClassificationBatch, Decoding, Preprocessing, Progress, Split


class ImageFolderDataModule(lightning.LightningDataModule):
    """Loads photos from a folder, a table, shards or an address for a classifier.

    Classes are the class folders of the training split in lexicographic order. Batches are `ClassificationBatch`
    dictionaries. The order of an epoch depends on (seed, epoch), an augmentation on (seed, epoch, position), so
    neither depends on the number of workers, and a resumed run seeks to the batch where it stopped.

    Example:
        >>> data = ImageFolderDataModule("photos", batch_size=64, image_size=224)  # doctest: +SKIP
        >>> data.setup("fit")  # doctest: +SKIP
        >>> batch = next(iter(data.train_dataloader()))  # doctest: +SKIP

    Args:
        root: The photos; may also be in ``config``.
        config: All data settings; None: the defaults, changed by ``settings``.
        preprocessing: The model's preprocessing; None: ImageNet's usual one, with ``image_size`` and ``crop_pct``.
        seed: Seed of the split, the order and the augmentation.
        photos: Photos that were loaded already; None: `setup` loads them.
        progress: Reports how many files have been checked while loading.
        settings: Single settings of `DataConfig`, by name.

    Raises:
        ConfigError: A setting is unknown, of the wrong type or out of range.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        config: DataConfig | None = None,
        preprocessing: Preprocessing | None = None,
        seed: int = 0,
        photos: Photos | None = None,
        progress: Progress | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        if root is not None:
            settings["root"] = str(root)
        self.config = with_settings(config or DataConfig(), settings)
        self.preprocessing = merged_preprocessing(preprocessing, self.config)
        self.seed = seed
        self.is_ended_by_clock = False  # whether the number of epochs of the Trainer may change
        self.has_time_limit = False  # whether the clock may end the training
        self.expected_epochs: int | None = None  # of such a training, as the first process knows it
        self._photos = photos
        self._progress = progress
        self._start = (0, 0)
        self._batches: EpochBatchSampler | None = None
        self._caches: Caches | None = None

    @property
    def photos(self) -> Photos:
        """The loaded photos.

        Raises:
            DataError: Before `setup`.
        """
        if self._photos is None:
            raise DataError("the photos are not loaded yet: call setup() first")
        return self._photos

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in class order."""
        return self.photos.classes

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.classes)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class index by name."""
        return {name: index for index, name in enumerate(self.classes)}

    @property
    def class_counts(self) -> list[int]:
        """Training images of each class."""
        return self.photos.counts("train")

    @property
    def caches(self) -> Caches:
        """Where decoded images are kept; opened at the first call.

        Raises:
            DataError: Before `setup`.
        """
        if self._caches is None:
            self._caches = open_caches(self.photos, self.config, self.preprocessing)
        return self._caches

    @property
    def ledger(self) -> SampleLog:
        """The name of `sample_log` in version 0.1."""
        warnings.warn("ImageFolderDataModule.ledger is now called sample_log", DeprecationWarning, stacklevel=2)
        return self.sample_log

    @property
    def sample_log(self) -> SampleLog:
        """What was sampled in each epoch, as far as the model has seen it, over all ranks.

        Raises:
            DataError: Before `train_dataloader`.
        """
        if self._batches is None:
            raise DataError("nothing is sampled yet: call train_dataloader() first, or let a Trainer fit")
        whole = len(self._batches)
        return SampleLog(
            self._batches,
            self.photos.labels("train"),
            self.num_classes,
            lambda epoch: batches_seen(self.trainer, epoch, whole) if self.trainer is not None else 0,
        )

    def setup(self, stage: str | None = None) -> None:
        """Finds, checks and splits the photos, once."""
        if self._photos is None:
            self._photos = load_photos(self.config, self.seed, self._progress)
        if stage == "fit":
            self._start = (0, 0)  # unless a checkpoint, which is restored after this, sets another

    def state_dict(self) -> dict[str, Any]:
        """Where training resumes, for a checkpoint, with the processes, the batch size and the kind of device."""
        epoch, batch = self._position()
        return {
            "epoch": epoch,
            "batch": batch,
            "augmentation": AUGMENTATION,
            "batch_size": self.config.images_per_batch,
            "world_size": self._rank()[1],
            "accumulate_grad_batches": getattr(self.trainer, "accumulate_grad_batches", 1),
            "expected_epochs": self.expected_epochs,
            "device": None if self.trainer is None else self.trainer.strategy.root_device.type,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Starts training where a checkpoint was saved.

        Lightning's own count is restored too late for that: a module that asks the trainer for the number of steps
        in ``configure_optimizers`` has the loader built, and its first batches loaded, before.

        Raises:
            CheckpointError: Within an epoch: a step had another number of images, so that some would be sampled twice.
        """
        now = {
            "world_size": self._rank()[1],
            "batch_size": self.config.images_per_batch,
            "accumulate_grad_batches": getattr(self.trainer, "accumulate_grad_batches", 1),
        }
        before = {name: state_dict.get(name, now[name]) for name in now}  # an early version did not write them
        if state_dict["batch"] and math.prod(before.values()) != math.prod(now.values()):
            raise CheckpointError(
                f"the checkpoint was written within an epoch by {before['world_size']} process(es) with"
                f" batch_size={before['batch_size']}; here are {now['world_size']} with batch_size={now['batch_size']}:"
                " images would be sampled twice or not at all; the product, with accumulate_grad_batches, must stay"
                " the same"
            )
        # it was written between two steps, so that its batches are a whole number of the present ones
        batch = state_dict["batch"] * now["accumulate_grad_batches"] // before["accumulate_grad_batches"]
        self._start = (state_dict["epoch"], batch)
        self.expected_epochs = state_dict.get("expected_epochs")

    def class_weights(self) -> list[float]:
        """Weight of each class by the settings ``balance_weighting``, ``balance_beta`` and ``class_weights``."""
        manual = self.config.class_weights
        return class_weights(
            self.class_counts,
            self.config.balance_weighting,
            beta=self.config.balance_beta,
            manual=None if manual is None else weights_by_name(self.classes, manual),
        )

    def save_labels_mapping(self, path: str | Path) -> Path:
        """Writes ``labels_mapping.json``: class names, indices and the whole preprocessing.

        Args:
            path: The file, or a folder to write ``labels_mapping.json`` into.
        """
        target = Path(path)
        target = ExportFolder(target).labels_mapping if target.is_dir() else target
        write_json(target, labels_mapping(self.classes, self.preprocessing))
        return target

    def train_dataloader(self) -> DataLoader[ClassificationBatch]:
        """Shuffled or balanced, augmented batches; on a resumed run from the batch where it stopped."""
        rank, world_size = self._rank()
        batches = EpochBatchSampler(
            self._train_sampler(), self.config.images_per_batch, rank=rank, world_size=world_size
        )
        batches.seek(*self._start)
        self._batches = batches
        train_cache = self.caches.train
        dataset = TrainDataset(
            self.photos.records("train"),
            self.photos.labels("train"),
            TrainTransform(self.preprocessing, self.config),
            self.seed,
            cache=None if train_cache is None else train_cache.cache,
            reduce_to=reduced_side(self.config, self.preprocessing),
            decoding=self._decoding,
            plan=BatchPlan.of(self.config, self.preprocessing, self.num_classes, self.seed, self._planned_epochs()),
        )
        loader = train_loader(
            dataset,
            batches,
            num_workers=self._num_workers(),
            num_epochs=self._num_epochs(),
            normalization=self._loader_normalization(),
        )
        return keep_shared(loader)

    def val_dataloader(self) -> DataLoader[ClassificationBatch]:
        """Validation batches, in file order."""
        return self._evaluation_dataloader("val")

    def test_dataloader(self) -> DataLoader[ClassificationBatch]:
        """Test batches, in file order; validation where there is no test split."""
        return self._evaluation_dataloader("test" if len(self.photos.rows.get("test", ())) else "val")

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ARG002 - Lightning's
        """Normalises a batch on the device: it has travelled as uint8."""
        return normalize_batch(batch, self.preprocessing)

    def teardown(self, stage: str | None = None) -> None:
        """Closes the image caches when training is over."""
        if stage == "fit":
            self.close_caches()

    def close_caches(self) -> None:
        """Ends the use of the image caches; those in memory are removed when no other run uses them."""
        if self._caches is not None:
            self._caches.close()
            self._caches = None

    def _loader_normalization(self) -> Preprocessing | None:
        """A running Trainer calls `on_after_batch_transfer`; otherwise batches are normalised already."""
        is_running = self.trainer is not None and self.trainer.state.status == TrainerStatus.RUNNING
        return None if is_running else self.preprocessing

    def _train_sampler(self) -> EpochSampler:
        sampler, num_repeats = self._sampler_of_images(), self.config.repeated_augmentation
        return sampler if num_repeats == 1 else RepeatedSampler(sampler, num_repeats)

    def _sampler_of_images(self) -> TrackingWeightedRandomSampler | ShuffleSampler:
        weights, num_samples = self.photos.weights("train"), len(self.photos.rows["train"])
        if self.config.balance == "sampler":
            by_class = np.asarray(self.class_weights())[self.photos.labels("train")]
            weights = by_class if weights is None else by_class * weights
        if weights is None:
            return ShuffleSampler(num_samples, self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        return TrackingWeightedRandomSampler(torch.from_numpy(weights), num_samples, generator=generator)

    def _evaluation_dataloader(self, split: Split) -> DataLoader[ClassificationBatch]:
        rank, world_size = self._rank()
        dataset = EvaluationDataset(
            self.photos.records(split),
            self.photos.labels(split),
            self.preprocessing.decoded_as(self._decoding),
            cache=self.caches.val.cache if split == "val" else None,
        )
        return evaluation_loader(
            dataset,
            self.config.images_per_batch,
            num_workers=self._num_workers(),
            rank=rank,
            world_size=world_size,
            as_float=self._loader_normalization() is not None,
        )

    @property
    def _decoding(self) -> Decoding:
        return replace(self.preprocessing.decoding, max_pixels=self.config.max_image_pixels)

    def _rank(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)

    def _num_workers(self) -> int:
        num_ranks = getattr(self.trainer, "num_devices", 1)
        return num_loader_processes(self.config.num_workers, num_ranks)

    def _num_epochs(self) -> int | None:
        """Epochs of the training; None: it is not known."""
        num_epochs: int | None = getattr(self.trainer, "max_epochs", None)
        return None if num_epochs == -1 or self.is_ended_by_clock else num_epochs

    def _planned_epochs(self) -> int | None:
        """Epochs that images are resized and mixed for, the same on all ranks and after a resume; None: not known."""
        if self.has_time_limit and self.trainer is not None:
            self.expected_epochs = self.trainer.strategy.broadcast(self.expected_epochs)
        return self.expected_epochs or self._num_epochs()

    def _position(self) -> tuple[int, int]:
        """Epoch and batch at which training would resume."""
        if self.trainer is None:
            return self._start
        loop = self.trainer.fit_loop
        # annotated too narrowly by Lightning: it also counts what was started and processed
        epochs: Any = loop.epoch_progress.current
        batches: Any = loop.epoch_loop.batch_progress
        if epochs.started == epochs.processed:
            return epochs.processed, 0
        if batches.is_last_batch:  # only validation is left of that epoch; the loader is made for the next one
            return epochs.processed + 1, 0
        return epochs.processed, batches.current.processed
