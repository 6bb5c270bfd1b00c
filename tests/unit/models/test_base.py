from __future__ import annotations

import copy
import math
import shutil
from pathlib import Path
from typing import Any, cast

import lightning
import pytest
import timm
import torch
import torch._inductor.config
from tests.helpers.training import (
    LIGHTNING_NOTICES,
    NUM_CLASSES,
    assert_same,
    make_loader,
    make_model,
    make_trainer,
    snapshot,
)
from torch import Tensor, nn

from classifier_training.callbacks.throughput import Throughput
from classifier_training.errors import ClassifierTrainingError
from classifier_training.models.base import BaseClassificationModel
from classifier_training.types import Preprocessing

pytestmark = LIGHTNING_NOTICES
IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
HEAD = {"fc.weight", "fc.bias"}


class TwoConvolutions(nn.Module):
    """A network of the user's own, known to timm."""

    def __init__(self, num_classes: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(8, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.head(self.body(images).flatten(1)))

    def get_classifier(self) -> nn.Module:
        return self.head


def two_convolutions(pretrained: bool = False, **options: Any) -> TwoConvolutions:
    return TwoConvolutions(options["num_classes"])


timm.models.register_model(two_convolutions)


def fit(
    model: BaseClassificationModel, folder: Path, *callbacks: lightning.Callback, **options: Any
) -> lightning.Trainer:
    trainer = make_trainer(folder, *callbacks, **options)
    trainer.fit(model, make_loader(3), make_loader(2))
    return trainer


def test_a_forward_pass_gives_float32_logits() -> None:
    logits = make_model()(IMAGES)
    assert (logits.shape, logits.dtype) == ((6, NUM_CLASSES), torch.float32)


def test_classes_are_names_or_their_number() -> None:
    assert make_model(classes=3).classes == ("0", "1", "2")
    model = BaseClassificationModel("test_resnet", ["no", "1e3"], image_size=32)
    assert (model.classes, model.num_classes) == (("no", "1e3"), 2)


def test_the_preprocessing_is_that_of_the_backbone_unless_given() -> None:
    assert BaseClassificationModel("test_resnet", 2).preprocessing.image_size == 160
    given = Preprocessing(image_size=48, mean=(0.1, 0.2, 0.3))
    assert BaseClassificationModel("test_resnet", 2, preprocessing=given).preprocessing == given
    assert BaseClassificationModel("test_resnet", 2, preprocessing=given.to_dict()).preprocessing == given


def test_a_checkpoint_rebuilds_the_model_from_plain_values(tmp_path: Path) -> None:
    model = make_model(loss={"name": "focal"}, optimizer={"name": "sgd"})
    trainer = fit(model, tmp_path)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    loaded = BaseClassificationModel.load_from_checkpoint(tmp_path / "one.ckpt", weights_only=True)
    assert loaded.settings == model.settings
    assert (loaded.classes, loaded.preprocessing) == (model.classes, model.preprocessing)
    assert_same(snapshot(loaded), snapshot(model))
    torch.testing.assert_close(loaded.eval()(IMAGES), model.eval()(IMAGES), rtol=0, atol=0)


def test_a_model_with_balanced_loss_is_rebuilt_with_it(tmp_path: Path) -> None:
    model = BaseClassificationModel("test_resnet", 2, image_size=32, class_counts=[9, 1], class_weights=[1.0, 2.0])
    again = BaseClassificationModel(**dict(model.hparams))
    assert again.loss.weight is not None
    assert again.loss.adjustment is not None
    assert again.loss.weight.tolist() == [1.0, 2.0]
    assert again.loss.adjustment.exp().tolist() == pytest.approx([0.9, 0.1])


def test_logged_are_exactly_the_promised_names(tmp_path: Path) -> None:
    trainer = fit(make_model(), tmp_path, Throughput(), max_epochs=2)
    promised = {"train/loss", "val/loss", "val/top1", "val/top5", "val/balanced_accuracy", "val/macro_f1"}
    assert trainer.callback_metrics.keys() == promised | {"lr"}
    assert trainer.logged_metrics.keys() == trainer.callback_metrics.keys()


def test_logged_scores_are_the_exact_ones(tmp_path: Path) -> None:
    model = make_model()
    trainer = fit(model, tmp_path)
    assert model.scores is not None
    assert model.scores.num_images == 16
    for name in ("top1", "top5", "balanced_accuracy", "macro_f1"):
        assert float(trainer.callback_metrics[f"val/{name}"]) == getattr(model.scores, name)


def test_logged_losses_are_those_of_the_whole_epoch(tmp_path: Path) -> None:
    model = make_model(optimizer={"lr": 1e-12}, loss={"label_smoothing": 0.1}, model={"freeze_norm_stats": True})
    with torch.no_grad():
        answers = [(model.eval()(batch["images"]), batch["labels"]) for batch in make_loader(3)]
        losses = [(model.loss(*answer), model.loss.evaluate(*answer).mean()) for answer in answers]
    trainer = make_trainer(tmp_path)
    trainer.fit(model, make_loader(3), make_loader(3))
    train, val = (math.fsum(map(float, column)) / 3 for column in zip(*losses, strict=True))
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(train, rel=1e-4)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(val, rel=1e-4)


def test_a_test_pass_logs_under_its_own_names(tmp_path: Path) -> None:
    model = make_model()
    (logged,) = make_trainer(tmp_path).test(model, make_loader(2), verbose=False)
    names = {"test/loss", "test/top1", "test/top5", "test/balanced_accuracy", "test/macro_f1"}
    assert logged.keys() == names


def test_it_learns(tmp_path: Path) -> None:
    model = make_model(optimizer={"lr": 5e-3})
    trainer = make_trainer(tmp_path, max_epochs=5)
    trainer.fit(model, make_loader(6, 16), make_loader(2, 16))
    assert float(trainer.callback_metrics["val/top1"]) > 0.9


def test_predictions_know_nothing_of_logit_adjustment(tmp_path: Path) -> None:
    torch.manual_seed(0)
    adjusted = BaseClassificationModel("test_resnet", NUM_CLASSES, image_size=32, class_counts=[1000, 1, 1, 1])
    plain = make_model()
    plain.backbone.load_state_dict(adjusted.backbone.state_dict())
    torch.testing.assert_close(adjusted.eval()(IMAGES), plain.eval()(IMAGES), rtol=0, atol=0)
    trainer = make_trainer(tmp_path)
    one, other = (trainer.validate(model, make_loader(2), verbose=False)[0] for model in (adjusted, plain))
    assert one == other


def test_bf16_on_a_cpu_gives_float32_logits(tmp_path: Path) -> None:
    model = make_model(loss={"name": "bce"})
    trainer = fit(model, tmp_path, precision="bf16-mixed")
    predicted = cast("list[Tensor]", trainer.predict(model, make_loader(1)))
    assert predicted[0].dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert model.eval()(IMAGES).dtype == torch.float32
        rounded = model(IMAGES)
    assert not torch.equal(rounded, model(IMAGES)), "the arithmetic was not bfloat16"


def test_the_memory_format_changes_no_result() -> None:
    plain = make_model(model={"channels_last": False}).eval()
    fast = make_model(model={"channels_last": True}).eval()
    fast.use_memory_format()
    weight = fast.get_parameter("backbone.conv1.0.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fast(IMAGES), plain(IMAGES), rtol=1e-4, atol=1e-4)


def test_training_in_channels_last_gives_the_same_model(tmp_path: Path) -> None:
    results = []
    for channels_last in (True, False):
        model = make_model(model={"channels_last": channels_last}, optimizer={"name": "sgd", "lr": 1e-2})
        fit(model, tmp_path)
        results.append(model.eval()(IMAGES))
    torch.testing.assert_close(*results, rtol=1e-2, atol=1e-2)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_backbone_trains_like_the_plain_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real torch.compile with its default backend, on the least network there is: a layer takes it seconds.

    Without vector instructions: finding out which of them the C++ compiler knows takes longer than the network.
    """
    monkeypatch.setattr(torch._inductor.config.cpp, "vec_isa_ok", False)
    losses: list[float] = []
    states = []
    for is_compiled in (False, True):
        model = make_model("two_convolutions", model={"compile": is_compiled}, optimizer={"lr": 1e-2})
        trainer = make_trainer(tmp_path)
        trainer.fit(model, make_loader(3), make_loader(1))
        losses.append(float(trainer.callback_metrics["train/loss"]))
        states.append(snapshot(model))
        assert (model.backbone._compiled_call_impl is not None) is is_compiled
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert states[0].keys() == states[1].keys()


@pytest.mark.parametrize("first", [0, 2])
def test_a_diverged_training_ends_with_one_clear_line(tmp_path: Path, first: int) -> None:
    model = make_model(optimizer={"lr": 0.25})

    class Poison(lightning.Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx >= first:
                batch["images"] *= torch.nan

    with pytest.raises(
        ClassifierTrainingError, match=r"diverged in epoch 1.*loss .* nan.*optimizer\.lr \(now 0\.25\)"
    ) as caught:
        fit(model, tmp_path, Poison())
    assert "\n" not in str(caught.value)


def test_dropout_depends_on_the_seed_and_the_position_alone(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": {"drop_rate": 0.5}, "optimizer": {"lr": 1e-2}}
    results = []
    for noise in (0, 1):
        model = make_model(**settings)
        torch.manual_seed(noise)
        fit(model, tmp_path)
        results.append(snapshot(model))
    assert_same(*results)


def test_a_copy_of_a_trained_model_answers_alike(tmp_path: Path) -> None:
    model = make_model()
    fit(model, tmp_path)
    clone = copy.deepcopy(model)
    torch.testing.assert_close(clone.eval()(IMAGES), model.eval()(IMAGES), rtol=0, atol=0)


def test_the_example_of_the_docstring() -> None:
    model = BaseClassificationModel("resnet10t", ["cat", "dog"], image_size=64)
    assert model(torch.zeros(1, 3, 64, 64)).shape == torch.Size([1, 2])
    assert isinstance(model.backbone, nn.Module)
