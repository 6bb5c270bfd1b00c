from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, assert_same, make_loader, make_model, make_trainer, snapshot

from classifier_training.callbacks.ema import EMACallback
from classifier_training.errors import CheckpointError
from classifier_training.models.checkpoint import load_model, read_checkpoint

pytestmark = LIGHTNING_NOTICES


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model, ema = make_model(), EMACallback(decay=0.5)
    trainer = make_trainer(tmp_path, ema)
    trainer.fit(model, make_loader(2), make_loader(1))
    trainer.save_checkpoint(tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def test_a_model_comes_back_with_the_scored_weights(checkpoint: Path) -> None:
    model = load_model(checkpoint)
    assert not model.training
    content = read_checkpoint(checkpoint)
    assert_same(snapshot(model), content["state_dict"])
    differing = [
        key for key, value in content["training_state_dict"].items() if not value.equal(content["state_dict"][key])
    ]
    assert differing, "the average is the training weights, so the test proved nothing"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*none\.ckpt"):
        read_checkpoint(tmp_path / "none.ckpt")


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_checkpoint_is_refused(checkpoint: Path, kept: float) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointError, match="truncated or not a checkpoint") as caught:
        load_model(checkpoint)
    assert "\n" not in str(caught.value)


def test_a_damaged_checkpoint_is_refused_or_read_but_never_crashes(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    generator = torch.Generator().manual_seed(0)
    num_refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for place in torch.randint(3000, (10,), generator=generator).tolist():
            damaged[place] = int(torch.randint(256, (), generator=generator))
        checkpoint.write_bytes(damaged)
        try:
            read_checkpoint(checkpoint)
        except CheckpointError:
            num_refused += 1
    assert num_refused > 30


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {"a": torch.ones(1)}},
        {"state_dict": {}, "hyper_parameters": {"lr": 1}, "epoch": 0, "global_step": 0},
        {"state_dict": {}, "hyper_parameters": 3, "epoch": 0, "global_step": 0},
        [1, 2, 3],
        torch.ones(3),
    ],
)
def test_a_checkpoint_of_another_program_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "foreign.ckpt")
    with pytest.raises(CheckpointError, match=r"of another program; weights alone .* model\.weights="):
        read_checkpoint(tmp_path / "foreign.ckpt")


def test_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.ckpt").write_text("<html>404</html>")
    with pytest.raises(CheckpointError, match=r"page\.ckpt is"):
        read_checkpoint(tmp_path / "page.ckpt")


class Malicious:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_a_malicious_checkpoint_is_refused_and_not_run(checkpoint: Path) -> None:
    proof = checkpoint.with_name("executed")
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "hyper_parameters": {**content["hyper_parameters"], "x": Malicious(proof)}}, checkpoint)
    with pytest.raises(CheckpointError, match=r"refused.*could run code"):
        load_model(checkpoint)
    assert not proof.exists()
    torch.load(checkpoint, weights_only=False)
    assert proof.exists(), "the file was harmless, so the test proved nothing"


def test_a_checkpoint_that_contradicts_itself_is_refused(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["classes"] = ["a", "b"]
    torch.save(content, checkpoint)
    with pytest.raises(CheckpointError, match="does not hold the model that it describes") as caught:
        load_model(checkpoint)
    assert "\n" not in str(caught.value)
