from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from tests.helpers.training import LIGHTNING_NOTICES, assert_same, make_loader, make_model, make_trainer, snapshot
from torch import Tensor, nn

from classifier_training.errors import ModelError
from classifier_training.models.backbone import create_backbone
from classifier_training.models.weights import load_weights_file, read_state_dict

pytestmark = LIGHTNING_NOTICES
ROOT = Path(__file__).parents[3]
LITE0 = ROOT.parent / "shared" / "data" / "weights" / "tf_efficientnet_lite0.safetensors"
HEAD = {"fc.weight", "fc.bias"}


@pytest.fixture
def source() -> nn.Module:
    """A backbone with other weights than those that a new one gets, and seven classes."""
    torch.manual_seed(1)
    return timm.create_model("test_resnet", num_classes=7)


def save(state: Any, path: Path) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


def body(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key not in HEAD}


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "w.bin"])
def test_a_file_with_the_same_classes_is_taken_as_a_whole(tmp_path: Path, source: nn.Module, name: str) -> None:
    path = save(source.state_dict(), tmp_path / name)
    backbone = create_backbone("test_resnet", 7, 32)
    assert load_weights_file(backbone, path) == f"weights from {path}"
    assert_same(snapshot(backbone), snapshot(source))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_head_of_other_classes_is_replaced_with_a_message(tmp_path: Path, source: nn.Module, name: str) -> None:
    path = save(source.state_dict(), tmp_path / name)
    backbone = create_backbone("test_resnet", 3, 32)
    message = load_weights_file(backbone, path)
    assert message == f"weights from {path}; its head has 7 classes, this run 3: the head starts from zero"
    assert_same(body(snapshot(backbone)), body(snapshot(source)))
    assert not any(bool(backbone.state_dict()[key].any()) for key in HEAD), "a new head starts at zero"


def test_a_file_without_a_head_is_taken(tmp_path: Path, source: nn.Module) -> None:
    path = save(body(source.state_dict()), tmp_path / "w.pth")
    backbone = create_backbone("test_resnet", 3, 32)
    assert load_weights_file(backbone, path).endswith("it has no head, this run 3: the head starts from zero")


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "state_dict_ema", "model_ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_wrappers_of_other_programs_are_seen_through(
    tmp_path: Path, source: nn.Module, wrapper: str, prefix: str
) -> None:
    state = {f"{prefix}{key}": value for key, value in source.state_dict().items()}
    path = save({wrapper: state, "epoch": 3}, tmp_path / "w.pth")
    backbone = create_backbone("test_resnet", 7, 32)
    load_weights_file(backbone, path)
    assert_same(snapshot(backbone), snapshot(source))


def test_our_own_checkpoint_gives_its_weights(tmp_path: Path) -> None:
    model = make_model()
    trainer = make_trainer(tmp_path)
    trainer.fit(model, make_loader(2), make_loader(1))
    trainer.save_checkpoint(tmp_path / "best.ckpt")
    backbone = create_backbone("test_resnet", model.num_classes, 32)
    load_weights_file(backbone, tmp_path / "best.ckpt")
    assert_same(snapshot(backbone), snapshot(model.backbone))


def test_position_embeddings_are_resampled_to_the_image_size(tmp_path: Path) -> None:
    torch.manual_seed(1)
    trained = timm.create_model("test_vit", num_classes=4, img_size=64)
    path = save(trained.state_dict(), tmp_path / "w.safetensors")
    backbone = create_backbone("test_vit", 4, 96)
    load_weights_file(backbone, path)
    assert backbone.state_dict()["pos_embed"].shape != trained.state_dict()["pos_embed"].shape
    torch.testing.assert_close(backbone.state_dict()["cls_token"], trained.state_dict()["cls_token"])


@pytest.mark.parametrize("theirs", ["test_convnext", "test_vit", "test_efficientnet", "resnet10t"])
@pytest.mark.parametrize("ours", ["test_resnet", "test_vit2", "test_convnext2", "test_mambaout"])
def test_weights_of_another_backbone_are_refused(tmp_path: Path, ours: str, theirs: str) -> None:
    path = save(timm.create_model(theirs, num_classes=4).state_dict(), tmp_path / "w.pth")
    backbone = create_backbone(ours, 4, 64)
    before = snapshot(backbone)
    with pytest.raises(ModelError, match=r"w\.pth does not fit the backbone.*is model\.name the right one") as caught:
        load_weights_file(backbone, path)
    assert "\n" not in str(caught.value)
    assert_same(snapshot(backbone), before)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.weights: there is no file .*none\.pth"):
        read_state_dict(tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, source: nn.Module, name: str, kept: float) -> None:
    path = save(source.state_dict(), tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ModelError, match=r"truncated|refused") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_refused_or_read_but_never_crash(tmp_path: Path, source: nn.Module) -> None:
    path = tmp_path / "w.pth"
    torch.save(source.state_dict(), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    num_refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for place in torch.randint(4000, (20,), generator=generator).tolist():
            damaged[place] = int(torch.randint(256, (), generator=generator))
        path.write_bytes(damaged)
        try:
            read_state_dict(path)
        except ModelError:
            num_refused += 1
    assert num_refused > 30


@pytest.mark.parametrize("content", [3, [1, 2], {"a": 1}, {"state_dict": {"a": "text"}}, {}])
def test_a_file_without_tensors_holds_no_weights(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ModelError, match="holds no weights"):
        read_state_dict(save(content, tmp_path / "w.pth"))


class Malicious:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, is_zip: bool) -> None:
    proof = tmp_path / "executed"
    path = tmp_path / "w.pth"
    torch.save({"fc.weight": Malicious(proof)}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ModelError, match=r"refused.*could run code.*safetensors"):
        read_state_dict(path)
    assert not proof.exists()
    torch.load(path, weights_only=False)
    assert proof.exists(), "the file was harmless, so the test proved nothing"


def test_a_bare_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    proof, path = tmp_path / "executed", tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps(Malicious(proof)))
    with pytest.raises(ModelError):
        read_state_dict(path)
    assert not proof.exists()
    pickle.loads(path.read_bytes())  # noqa: S301 - to show that the file does harm
    assert proof.exists()


@pytest.mark.skipif(not LITE0.is_file(), reason="the ImageNet weights of Lite0 are not here")
def test_real_pretrained_weights_answer_as_timm_loads_them() -> None:
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    theirs = timm.create_model(
        "tf_efficientnet_lite0", pretrained=True, pretrained_cfg_overlay={"file": str(LITE0)}
    ).eval()
    ours = create_backbone("tf_efficientnet_lite0", 1000, 96)
    assert load_weights_file(ours, LITE0) == f"weights from {LITE0}"
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(images), theirs(images), rtol=0, atol=0)
