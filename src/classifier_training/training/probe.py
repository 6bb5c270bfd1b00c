"""The linear probe of a run: features of its photos, and the head that is fitted to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed
from torch.utils.data import DataLoader, Dataset

from classifier_training.data.cache.folder import cache_folder
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.data.sources.detect import shown_root
from classifier_training.data.splits.folds import deal_folds
from classifier_training.data.splits.positions import positions_of
from classifier_training.features.extract import Extraction, extract
from classifier_training.features.views import AugmentedView, CentreView, View
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.linear_head import HeadProblem, LinearHead, fit_linear_head
from classifier_training.models.probe_model import ProbeModel, install_head
from classifier_training.run.folder import RunFolder
from classifier_training.run.probe import ProbeCurvePoint, ProbeRecord, ProbeScores
from classifier_training.run.processes import is_main_process
from classifier_training.run.records import write_record
from classifier_training.terminal.terminal import Terminal, duration
from classifier_training.training.group import Group
from classifier_training.training.plan import Plan
from classifier_training.types import ClassificationBatch, Split

NUM_FOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Probe:
    """A fitted probe.

    Attributes:
        head: The head.
        record: What ``probe.json`` keeps of it.
    """

    head: LinearHead
    record: ProbeRecord


def start_from_probe(
    run: RunFolder,
    plan: Plan,
    model: BaseClassificationModel,
    group: Group,
    terminal: Terminal,
    device: torch.device,
    *,
    with_val: bool = False,
) -> ProbeRecord:
    """Gives a model the head of a probe; every process of a training must call it.

    The first process computes and fits; the others wait and get the same bits. What it found is in ``probe.json``.

    Args:
        run: Its folder.
        plan: What is trained.
        model: With the weights to start from.
        group: The processes.
        terminal: Shows the progress and the result.
        device: Where to compute.
        with_val: Also score the probe on the validation split.

    Raises:
        ModelError: The head of the backbone is not a linear layer.
    """
    found: list[Probe | None] = [None]

    def fit() -> str:
        probe = fit_probe(plan, model, terminal, device, with_val=with_val)
        found[0] = probe
        write_record(run.probe, probe.record)
        return "fitted"

    group.share("probe", fit)
    probe = _of_first_process(found)
    install_head(model, probe.head)
    if isinstance(model, ProbeModel):
        model.fitted_loss = probe.head.log_loss
    if is_main_process():
        terminal.info(describe_fit(probe.record))
    return probe.record


def _of_first_process(found: list[Probe | None]) -> Probe:
    if distributed.is_available() and distributed.is_initialized():
        distributed.broadcast_object_list(found)
    probe = found[0]
    assert probe is not None  # noqa: S101 - the first process has it
    return probe


def fit_probe(
    plan: Plan,
    model: BaseClassificationModel,
    terminal: Terminal,
    device: torch.device,
    *,
    with_val: bool = False,
    check_stop: Callable[[], None] = lambda: None,
) -> Probe:
    """Computes the features of the training images, or takes them from the cache, and fits a head to them.

    Args:
        plan: What is trained.
        model: With the weights to start from.
        terminal: Shows the progress.
        device: Where to compute.
        with_val: Also score the probe on the validation split, in exact float32.
        check_stop: Called between two batches or fits, and may raise to stop.
    """
    started, config = time.monotonic(), plan.config
    views: list[View] = [CentreView(plan.preprocessing)]
    views += [
        AugmentedView(number, config.seed, plan.preprocessing, config.data)
        for number in range(config.recipe.probe_views)
    ]
    parts = [
        split_features(plan, model, terminal, device, "train", view, check_stop=check_stop, number=number)
        for number, view in enumerate(views)
    ]
    problem = _problem(plan, parts)
    with terminal.progress("fitting the head", "fits") as progress:
        head = fit_linear_head(problem, device=device, progress=progress, check_stop=check_stop)
    val = None
    if with_val:
        features = split_features(plan, model, terminal, device, "val", views[0], check_stop=check_stop)
        val = score_head(head, features, plan.photos.labels("val"))
    return Probe(head, _record(head, parts, val, time.monotonic() - started))


def _record(head: LinearHead, parts: list[NDArray[np.float32]], val: ProbeScores | None, seconds: float) -> ProbeRecord:
    return ProbeRecord(
        strength=head.strength,
        train_log_loss=head.log_loss,
        num_images=len(parts[0]),
        num_views=len(parts),
        num_features=parts[0].shape[1],
        num_held_out=head.num_held_out,
        curve=tuple(ProbeCurvePoint(one.strength, one.log_loss, one.top1, one.standard_error) for one in head.curve),
        val=val,
        seconds=round(seconds, 1),
    )


def split_features(
    plan: Plan,
    model: BaseClassificationModel,
    terminal: Terminal,
    device: torch.device,
    split: Split,
    view: View,
    *,
    check_stop: Callable[[], None] = lambda: None,
    number: int = 0,
) -> NDArray[np.float32]:
    """The features of a split under a view, float32 (N, D); arguments as of `fit_probe`."""
    data, photos = plan.config.data, plan.photos
    how = Extraction(
        device=device,
        batch_size=data.images_per_batch,
        num_workers=plan.loaders.count,
        cache=cache_folder(data.cache_dir) if data.cache in {"auto", "disk"} else None,
        limit=data.copies_bytes,
        photos=shown_root(photos.root),
        check_stop=check_stop,
    )
    what = f"features of {split}" if number == 0 else f"features of {split}, augmented view {number}"
    with terminal.progress(what, "images") as progress:
        how = replace(how, progress=progress)
        return extract(model, photos.records(split), photos.digests(split), view=view, how=how)


def score_head(head: LinearHead, features: NDArray[np.float32], labels: NDArray[np.int64]) -> ProbeScores:
    """Log-loss and top-1 of a head on features float32 (N, D) of images with labels int64 (N,)."""
    logits = torch.from_numpy(head.logits(features)).double()
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none")
    right = logits.argmax(dim=1).numpy() == labels
    return ProbeScores(log_loss=float(losses.mean()), top1=float(right.mean()))


def describe_fit(record: ProbeRecord) -> str:
    """One line about a probe."""
    chosen = f"C={record.strength:.3g}"
    found = next((one for one in record.curve if one.strength == record.strength), None)
    if found is not None:
        chosen += (
            f" of {len(record.curve)} tried, by cross-validation on {record.num_held_out // record.num_views} training"
            f" images (log-loss {found.log_loss:.4f}, top-1 {found.top1:.2%})"
        )
    val = "" if record.val is None else f"; val log-loss {record.val.log_loss:.4f}, top-1 {record.val.top1:.2%}"
    return f"linear probe: {record.num_features} features, {chosen}{val}, took {duration(record.seconds)}"


def _problem(plan: Plan, parts: list[NDArray[np.float32]]) -> HeadProblem:
    """What the head is fitted to: the views below each other, weights as the balance setting asks for."""
    config, photos = plan.config, plan.photos
    labels, num_classes, num_views = photos.labels("train"), len(photos.classes), len(parts)
    weights = photos.weights("train")
    if config.data.balance in {"sampler", "loss_weights"}:
        data = ImageFolderDataModule(config=config.data, preprocessing=plan.preprocessing, photos=photos)
        by_class = np.asarray(data.class_weights(), np.float64)[labels]
        weights = by_class if weights is None else by_class * weights
    offset = None
    if config.data.balance == "logit_adjustment":
        offset = np.log(np.asarray(photos.counts("train"), np.float64) / len(labels)).astype(np.float32)
    positions = positions_of(photos.index, photos.rows["train"], config.seed, photos.split_rule)
    return HeadProblem(
        parts[0] if num_views == 1 else np.concatenate(parts),
        np.tile(labels, num_views),
        num_classes,
        weights=None if weights is None else np.tile(weights, num_views),
        offset=offset,
        folds=np.tile(deal_folds(labels, positions, NUM_FOLDS), num_views),  # images of one position share a fold
        num_images=len(labels),
    )


def use_one_step(data: ImageFolderDataModule) -> None:
    """Lets a training whose head is fitted take one step, on a batch without images."""
    size, none = data.preprocessing.image_size, torch.zeros(0, dtype=torch.int64)
    batch = ClassificationBatch(images=torch.zeros(0, 3, size, size), labels=none, indices=none)
    vars(data)["train_dataloader"] = lambda: DataLoader(cast("Dataset[Any]", [batch]), batch_size=None)
