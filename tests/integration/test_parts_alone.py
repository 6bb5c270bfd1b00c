"""The average, the export and the sampler in somebody else's training, with nothing else of ours."""

from __future__ import annotations

from pathlib import Path

import lightning
import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from classifier_training.callbacks import EMACallback, ONNXExportCallback
from classifier_training.data import TrackingWeightedRandomSampler

NUM_CLASSES = 3
LABELS = torch.tensor([0] * 40 + [1] * 20 + [2] * 4)


class TheirModel(lightning.LightningModule):
    """A plain module that knows nothing of this package."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.head = nn.Linear(8, NUM_CLASSES)
        self.scored: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(images))
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.scored.append(self.head.weight.detach().clone())
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def images() -> Tensor:
    colours = torch.eye(NUM_CLASSES)[LABELS][..., None, None]
    return colours + 0.1 * torch.randn(len(LABELS), 3, 20, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:GPU available but not used")
def test_three_parts_in_a_foreign_training(tmp_path: Path, images: Tensor, caplog: pytest.LogCaptureFixture) -> None:
    lightning.seed_everything(0, verbose=False)
    photos = TensorDataset(images, LABELS)
    sampler = TrackingWeightedRandomSampler((1 / torch.bincount(LABELS))[LABELS], 600)
    average = EMACallback(decay=0.9)
    export = ONNXExportCallback(tmp_path / "onnx", input_height=20, input_width=24)
    model = TheirModel()
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[average, export],
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )

    with caplog.at_level("INFO"):
        trainer.fit(model, DataLoader(photos, 30, sampler=sampler), DataLoader(photos, 64))

    # the sampler: 40, 20 and 4 photos were drawn about equally often
    drawn = sampler.counts_per_class(LABELS, NUM_CLASSES)
    assert sum(drawn) == 600
    assert all(150 < count < 250 for count in drawn)
    # the average: validation saw it, and the module has its own weights back
    assert torch.equal(model.scored[-1], average.ema_state_dict["head.weight"])
    assert not torch.equal(model.head.weight, average.ema_state_dict["head.weight"])
    # the export: the average, proven, without labels, which nobody knows here
    averaged = TheirModel()
    averaged.load_state_dict(average.ema_state_dict)
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "model.onnx")
    (logits,) = session.run(["logits"], {"input": images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(logits, averaged.eval()(images).numpy(), atol=1e-4)
    assert sorted(path.name for path in (tmp_path / "onnx").iterdir()) == ["model.onnx", "verification.json"]
    assert "labels_mapping.json is left out" in caplog.text
