from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import onnxruntime
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tests.helpers.torch_models import make_batch, make_network
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from classifier_training.callbacks.onnx_export import ONNXExportCallback
from classifier_training.errors import ClassifierTrainingError, ConfigError, VerificationError
from classifier_training.inference.classifier import OnnxClassifier
from classifier_training.types import Exporter, Preprocessing

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no `val_dataloader`"),
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*is deprecated:FutureWarning"),
]


class Foreign(lightning.LightningModule):
    """Somebody else's module: no configuration, no hyper-parameters, scores that we choose."""

    def __init__(self, accuracies: tuple[float, ...] = ()) -> None:
        super().__init__()
        self.network: nn.Module = make_network().train()
        self.accuracies = accuracies
        self.seen: list[dict[str, Tensor]] = []

    def forward(self, images: Tensor) -> Tensor:
        return cast("Tensor", self.network(images))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        images, labels = batch.values() if isinstance(batch, dict) else batch
        return nn.functional.cross_entropy(self(images), labels)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if self.accuracies:
            self.log("accuracy", self.accuracies[self.current_epoch], on_epoch=True)

    def on_validation_epoch_end(self) -> None:
        self.seen.append({key: value.clone() for key, value in self.state_dict().items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class NotStarted(lightning.Callback):
    @property
    def ema_state_dict(self) -> dict[str, Tensor]:
        raise ClassifierTrainingError("there is no average yet")


class Average(lightning.Callback):
    """Stands for `EMACallback`: what counts is that its average is readable."""

    def __init__(self, ema_state_dict: dict[str, Tensor]) -> None:
        self.ema_state_dict = ema_state_dict


class DataModule(lightning.LightningDataModule):
    def __init__(self, image_size: int = 16) -> None:
        super().__init__()
        self.classes = ("00", "no", "", "猫")
        self.preprocessing = Preprocessing(image_size=image_size)

    def train_dataloader(self) -> DataLoader[Any]:
        return loader()

    def val_dataloader(self) -> DataLoader[Any]:
        return loader()


def loader(size: int = 16, num_images: int = 20) -> DataLoader[Any]:
    return DataLoader(TensorDataset(make_batch(num_images, size), torch.arange(num_images) % 4), batch_size=4)


def make_callback(folder: Path, **options: Any) -> ONNXExportCallback:
    return ONNXExportCallback(folder / "onnx", **{"input_height": 16, "input_width": 16, **options})


def make_trainer(folder: Path, *callbacks: lightning.Callback, **options: Any) -> lightning.Trainer:
    defaults = {
        "max_epochs": 1,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        "limit_train_batches": 2,
        "limit_val_batches": 2,
    }
    return lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **{**defaults, **options},
    )


def assert_exported(callback: ONNXExportCallback, weights: dict[str, Tensor]) -> dict[str, Any]:
    """The file answers like a network with these weights and like no other."""
    network = make_network()
    network.load_state_dict({key.removeprefix("network."): value for key, value in weights.items()})
    images = make_batch(5, seed=7)
    session = onnxruntime.InferenceSession(str(callback.path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, network(images), atol=1e-5)
    figures: dict[str, Any] = json.loads(callback.path.with_name("verification.json").read_text(encoding="utf-8"))
    assert figures == callback.figures
    assert figures["passed"] is True
    return figures


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_any_module_without_other_parts_of_the_package(tmp_path: Path, exporter: Exporter) -> None:
    callback, module = make_callback(tmp_path, exporter=exporter), Foreign()

    make_trainer(tmp_path, callback).fit(module, loader(), loader())

    figures = assert_exported(callback, module.state_dict())
    assert files_in(tmp_path / "onnx") == ["model.onnx", "verification.json"]
    assert figures["weights"] == "the module's current weights"
    assert figures["images"] == "validation images"
    assert figures["num_images"] == 16
    assert figures["exporter"] == exporter
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_the_best_epoch_is_exported_and_not_the_last(tmp_path: Path) -> None:
    callback, module = make_callback(tmp_path), Foreign(accuracies=(0.1, 0.9, 0.5))
    last = ModelCheckpoint(tmp_path / "last")
    best = ModelCheckpoint(tmp_path / "best", monitor="accuracy", mode="max")

    make_trainer(tmp_path, last, best, callback, enable_checkpointing=True, max_epochs=3).fit(
        module, loader(), loader()
    )

    figures = assert_exported(callback, module.seen[1])
    assert figures["weights"] == f"the best checkpoint {best.best_model_path}"
    with torch.no_grad():
        assert not torch.equal(module.state_dict()["network.6.bias"], module.seen[1]["network.6.bias"])


def test_the_average_is_exported_where_there_is_no_checkpoint(tmp_path: Path) -> None:
    average = {f"network.{key}": value for key, value in make_network(seed=9).state_dict().items()}
    callback = make_callback(tmp_path)

    make_trainer(tmp_path, Average(average), callback).fit(Foreign(), loader(), loader())

    assert assert_exported(callback, average)["weights"] == "the average of Average"


def test_a_checkpoint_that_is_refused_gives_way_to_the_average(tmp_path: Path) -> None:
    average = {f"network.{key}": value for key, value in make_network(seed=9).state_dict().items()}
    callback, module = make_callback(tmp_path), Foreign()
    # A class of the user's in a checkpoint: loading it would run the code in its pickle.
    module.save_hyperparameters({"foreign": DataModule})

    with pytest.warns(UserWarning, match="best checkpoint .* cannot be exported, trying .*weights_only=True"):
        make_trainer(
            tmp_path, Average(average), callback, ModelCheckpoint(tmp_path / "best"), enable_checkpointing=True
        ).fit(module, loader(), loader())

    assert assert_exported(callback, average)["weights"] == "the average of Average"


def test_weights_that_do_not_fit_give_way_to_the_modules_own(tmp_path: Path) -> None:
    callback, module = make_callback(tmp_path), Foreign()

    with pytest.warns(UserWarning, match="average of Average cannot be exported, trying .*Missing key"):
        make_trainer(tmp_path, Average({"x": torch.zeros(1)}), callback).fit(module, loader(), loader())

    assert assert_exported(callback, module.state_dict())["weights"] == "the module's current weights"


def test_an_average_that_never_started_gives_way_to_the_modules_own(tmp_path: Path) -> None:
    callback, module = make_callback(tmp_path), Foreign()

    with pytest.warns(UserWarning, match="average of NotStarted cannot be exported, .* there is no average yet"):
        make_trainer(tmp_path, NotStarted(), callback).fit(module, loader(), loader())

    assert_exported(callback, module.state_dict())


def test_a_data_module_gives_the_labels(tmp_path: Path) -> None:
    callback, datamodule = make_callback(tmp_path), DataModule()

    make_trainer(tmp_path, callback).fit(Foreign(), datamodule=datamodule)

    assert files_in(tmp_path / "onnx") == ["labels_mapping.json", "model.onnx", "verification.json"]
    classifier = OnnxClassifier(callback.path)
    assert (classifier.classes, classifier.preprocessing) == (datamodule.classes, datamodule.preprocessing)


def test_an_input_that_the_data_module_does_not_prepare_is_refused_before_training(tmp_path: Path) -> None:
    module = Foreign()

    with pytest.raises(ConfigError, match="images of 32 x 32 pixels; set input_height=32, input_width=32"):
        make_trainer(tmp_path, make_callback(tmp_path)).fit(module, datamodule=DataModule(32))

    torch.testing.assert_close(module.state_dict(), Foreign().state_dict(), rtol=0, atol=0)


def test_images_of_another_size_are_resized_with_a_warning(tmp_path: Path) -> None:
    callback, module = make_callback(tmp_path, input_height=24, input_width=20), Foreign()

    with pytest.warns(UserWarning, match=r"16 x 16 pixels, but the exported input is 24 x 20 .* set input_height=16"):
        make_trainer(tmp_path, callback).fit(module, loader(), loader())

    (input_,) = onnxruntime.InferenceSession(str(callback.path), providers=["CPUExecutionProvider"]).get_inputs()
    assert input_.shape == ["N", 3, 24, 20]


def test_without_validation_the_training_images_are_taken(tmp_path: Path) -> None:
    callback, module = make_callback(tmp_path), Foreign()

    make_trainer(tmp_path, callback, limit_val_batches=0).fit(module, loader())

    assert assert_exported(callback, module.state_dict())["images"] == "training images"


def bytes_loader() -> DataLoader[Any]:
    pixels = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(pixels, torch.arange(8) % 4), batch_size=4)


class OnTheDevice(lightning.pytorch.core.hooks.DataHooks):
    """Normalises batches that travel as uint8."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [batch[0].float() / 255, batch[1]]


class BytesDataModule(OnTheDevice, DataModule):
    def train_dataloader(self) -> DataLoader[Any]:
        return bytes_loader()

    def val_dataloader(self) -> DataLoader[Any]:
        return bytes_loader()


class BytesModule(OnTheDevice, Foreign):
    pass


def test_batches_that_travel_as_bytes_are_prepared_as_in_training(tmp_path: Path) -> None:
    of_data, of_module = make_callback(tmp_path / "data"), make_callback(tmp_path / "module")
    module, preparing = Foreign(), BytesModule()

    make_trainer(tmp_path, of_data).fit(module, datamodule=BytesDataModule())
    make_trainer(tmp_path, of_module).fit(preparing, bytes_loader(), bytes_loader())

    assert assert_exported(of_data, module.state_dict())["images"] == "validation images"
    assert assert_exported(of_module, preparing.state_dict())["images"] == "validation images"


class FlatImages(Foreign):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step((batch[0].unflatten(1, (3, 16, 16)), batch[1]), batch_idx)


def test_random_images_are_the_last_resort_with_a_warning(tmp_path: Path) -> None:
    callback, module = make_callback(tmp_path), FlatImages()
    flat = DataLoader(TensorDataset(make_batch(8).flatten(1), torch.arange(8) % 4), batch_size=4)

    with pytest.warns(UserWarning, match="compared on random images"):
        make_trainer(tmp_path, callback).fit(module, flat)

    assert assert_exported(callback, module.state_dict())["images"] == "random images"


class TracedWrongly(Foreign):
    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits if len(images) == 2 else logits + 1


def test_a_failed_comparison_fails_the_fit_and_leaves_no_model(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"of an older run")

    with pytest.raises(VerificationError, match="does not answer like the model"):
        make_trainer(tmp_path, make_callback(tmp_path)).fit(TracedWrongly(), loader(), loader())

    assert files_in(tmp_path / "onnx") == ["verification.json"]


def test_nothing_is_exported_after_fast_dev_run(tmp_path: Path) -> None:
    make_trainer(tmp_path, make_callback(tmp_path), fast_dev_run=True).fit(Foreign(), loader(), loader())

    assert files_in(tmp_path / "onnx") == []


class Crashing(Foreign):
    def on_train_epoch_end(self) -> None:
        raise RuntimeError("crash")


def test_nothing_is_exported_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="crash"):
        make_trainer(tmp_path, make_callback(tmp_path)).fit(Crashing(), loader(), loader())

    assert files_in(tmp_path / "onnx") == []


def test_a_compiled_module_exports_the_weights_that_were_trained(tmp_path: Path) -> None:
    callback, module = make_callback(tmp_path), Foreign(accuracies=(0.9, 0.1))
    module.network.compile(backend="eager")
    best = ModelCheckpoint(tmp_path / "best", monitor="accuracy", mode="max")

    make_trainer(tmp_path, best, callback, enable_checkpointing=True, max_epochs=2).fit(module, loader(), loader())

    assert_exported(callback, module.seen[0])


def test_reading_the_images_leaves_the_random_state_alone(tmp_path: Path) -> None:
    states: list[Tensor] = []

    class Before(lightning.Callback):
        def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            states.append(torch.get_rng_state())

    shuffled = DataLoader(TensorDataset(make_batch(8), torch.arange(8) % 4), batch_size=4, shuffle=True)
    make_trainer(tmp_path, Before(), make_callback(tmp_path), limit_val_batches=0).fit(Foreign(), shuffled)

    assert torch.equal(torch.get_rng_state(), states[0])


class WithoutForward(lightning.LightningModule):
    def training_step(self, batch: Any, batch_idx: int) -> None:
        return None

    def configure_optimizers(self) -> None:
        return None


def test_a_module_without_forward_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="WithoutForward does not define"):
        make_trainer(tmp_path, make_callback(tmp_path)).fit(WithoutForward(), loader())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_dir": 3}, "output_dir must be a folder; got 3"),
        ({"opset_version": 12}, "opset_version must be 13 to 20 for exporter='torchscript'; got 12"),
        ({"opset_version": 17, "exporter": "dynamo"}, "opset_version must be 18 to 23 for exporter='dynamo'; got 17"),
        ({"opset_version": True}, "opset_version must be"),
        ({"input_height": 0}, "input_height must be a positive number of pixels; got 0"),
        ({"input_width": 22.4}, "input_width must be"),
        ({"exporter": "tf"}, "exporter must be 'torchscript' or 'dynamo'; got 'tf'"),
        ({"tolerance": 0}, "tolerance must be a positive number; got 0"),
        ({"tolerance": float("nan")}, "tolerance must be"),
    ],
)
def test_wrong_arguments_are_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ONNXExportCallback(**options)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
