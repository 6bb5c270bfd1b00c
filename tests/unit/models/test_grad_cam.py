from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from captum.attr import LayerGradCam
from tests.helpers.photos import make_photo
from tests.helpers.training import make_model, snapshot
from torch import Tensor, nn

from classifier_training.metrics.scores import Predictions
from classifier_training.models.backbone import head_parameters
from classifier_training.models.grad_cam import cam_function, grad_cam_maps
from classifier_training.types import ImageRecord

CPU = torch.device("cpu")


def make_backbone(name: str, size: int, **options: Any) -> nn.Module:
    """A small random model of a family, with a head that is not all zero."""
    torch.manual_seed(0)
    if any(family in name for family in ("vit", "deit", "mixer", "swin")):
        options["img_size"] = size
    backbone: nn.Module = timm.create_model(name, num_classes=3, **options)
    for parameter in head_parameters(backbone):
        nn.init.normal_(parameter, std=0.5)
    return backbone


FAMILIES: dict[str, tuple[str, int, dict[str, Any], tuple[int, int]]] = {
    "efficientnet": ("test_efficientnet", 64, {}, (2, 2)),
    "mobilenet": ("mobilenetv3_small_050", 64, {}, (2, 2)),
    "resnet": ("test_resnet", 64, {}, (2, 2)),
    "vit": ("test_vit", 64, {}, (4, 4)),
    "vit_without_class_token": ("test_vit", 64, {"class_token": False, "global_pool": "avg"}, (4, 4)),
    "deit_distilled": ("deit_tiny_distilled_patch16_224", 64, {"embed_dim": 48, "depth": 2}, (4, 4)),
    "swin": ("swin_tiny_patch4_window7_224", 64, {"embed_dim": 24, "depths": (1, 1, 1, 1), "window_size": 2}, (2, 2)),
    "convnext": ("test_convnext", 64, {}, (2, 2)),
    "maxvit": ("maxvit_rmlp_pico_rw_256", 64, {"img_size": 64, "depths": (1, 1, 1, 1)}, (2, 2)),
    "mixer": ("mixer_s32_224", 64, {}, (2, 2)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_map_and_stays_as_it_is(family: str) -> None:
    name, size, options, shape = FAMILIES[family]
    backbone = make_backbone(name, size, **options)
    next(iter(backbone.children())).eval()
    modes = [module.training for module in backbone.modules()]
    before, hooks = snapshot(backbone), sum(len(module._forward_hooks) for module in backbone.modules())
    images, random = torch.randn(3, 3, size, size), torch.get_rng_state()
    maps = grad_cam_maps(backbone, images, torch.tensor([0, 1, 2]))
    assert maps is not None
    assert maps.shape == (3, *shape)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() == 1, "nothing supports any class"
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in backbone.modules()] == modes
    assert sum(len(module._forward_hooks) for module in backbone.modules()) == hooks
    assert all(parameter.grad is None and parameter.requires_grad for parameter in backbone.parameters())
    assert all(torch.equal(value, before[key]) for key, value in snapshot(backbone).items())


def captum_maps(backbone: nn.Module, layer: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Captum's Grad-CAM of a layer whose output is (B, C, h, w), each map divided by its largest value."""
    maps: Tensor = LayerGradCam(backbone, layer).attribute(images, target=targets, relu_attributions=True)
    largest = maps.amax(dim=(2, 3), keepdim=True)
    return (maps / largest.where(largest > 0, 1)).squeeze(1).detach()


@pytest.mark.parametrize("family", ["efficientnet", "mobilenet", "resnet", "convnext"])
def test_maps_of_convolutions_are_those_of_captum(family: str) -> None:
    name, size, options, _ = FAMILIES[family]
    backbone: Any = make_backbone(name, size, **options).eval()
    images, targets = torch.randn(3, 3, size, size), torch.arange(3)
    layer = backbone.get_submodule(backbone.feature_info[-1]["module"])
    expected = captum_maps(backbone, layer, images, targets)
    maps = grad_cam_maps(backbone, images, targets)
    assert maps is not None
    torch.testing.assert_close(torch.from_numpy(maps), expected, atol=1e-5, rtol=0)


class PatchGrid(nn.Module):
    """The patch tokens of a ViT as (B, C, 4, 4); what comes before them is kept for `PatchTokens`."""

    def __init__(self, num_prefix: int) -> None:
        super().__init__()
        self.num_prefix = num_prefix

    def forward(self, tokens: Tensor) -> Tensor:
        self.prefix = tokens[:, : self.num_prefix]
        return tokens[:, self.num_prefix :].transpose(1, 2).reshape(len(tokens), -1, 4, 4)


class PatchTokens(nn.Module):
    """The inverse of `PatchGrid`."""

    def __init__(self, grid: PatchGrid) -> None:
        super().__init__()
        self.grid = [grid]

    def forward(self, patches: Tensor) -> Tensor:
        return torch.cat([self.grid[0].prefix, patches.flatten(2).transpose(1, 2)], dim=1)


@pytest.mark.parametrize("family", ["vit", "vit_without_class_token", "deit_distilled"])
def test_maps_of_a_vision_transformer_are_those_of_captum(family: str) -> None:
    name, size, options, _ = FAMILIES[family]
    backbone: Any = make_backbone(name, size, **options).eval()
    images, targets = torch.randn(3, 3, size, size), torch.arange(3)
    maps = grad_cam_maps(backbone, images, targets)
    grid = PatchGrid(backbone.num_prefix_tokens)
    if backbone.num_prefix_tokens:  # the head reads a class token: the last block's patches do not reach the logits
        backbone.blocks[-1].norm1 = nn.Sequential(backbone.blocks[-1].norm1, grid, PatchTokens(grid))
    else:
        backbone.blocks[-1] = nn.Sequential(backbone.blocks[-1], grid, PatchTokens(grid))
    assert maps is not None
    expected = captum_maps(backbone, grid, images, targets)
    torch.testing.assert_close(torch.from_numpy(maps), expected, atol=1e-5, rtol=0)


class LeftOrRight(nn.Module):
    """Class 0 counts red on the left, class 1 red on the right: it is known where each looks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 4, 4, bias=False)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[:, 0] = 1 / 16

    def forward(self, images: Tensor) -> Tensor:
        values: Tensor = self.conv(images).relu_()  # in place, as many models do it
        half = values.shape[3] // 2
        return torch.stack([values[:, 0, :, :half].sum((1, 2)), values[:, 1, :, half:].sum((1, 2))], dim=1)


def test_it_is_the_formula_of_the_paper() -> None:
    torch.manual_seed(0)
    backbone, images = LeftOrRight(), torch.randn(2, 3, 16, 16)
    maps = grad_cam_maps(backbone, images, torch.tensor([0, 1]))
    activations = backbone.conv(images).detach()
    for number, target in enumerate((0, 1)):
        # only positions that the ReLU lets through on its own half have a gradient, and that is one
        half = slice(0, 2) if target == 0 else slice(2, 4)
        alpha = (activations[number, target, :, half] > 0).sum() / 16
        expected = (alpha * activations[number, target]).clamp(min=0)
        assert maps is not None
        np.testing.assert_allclose(maps[number], expected / expected.max(), atol=1e-6)


class Tokens(nn.Module):
    """Two class tokens before those of 4 x 4 patches, of which class k reads the one in row k, column 2."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.block = nn.Conv2d(3, 8, 4, 4), nn.Identity()
        self.feature_info = [{"module": "block", "num_chs": 8, "reduction": 4}]
        self.num_prefix_tokens = 2

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).abs().flatten(2).transpose(1, 2)
        tokens = self.block(torch.cat([patches[:, :2] * 0, patches], dim=1))
        return torch.stack([tokens[:, 2 + 4 * row + 2].sum(1) for row in range(4)], dim=1)


def test_tokens_become_positions_in_their_order() -> None:
    torch.manual_seed(0)
    images = torch.zeros(4, 3, 16, 16)
    for row in range(4):
        images[row, :, 4 * row : 4 * row + 4, 8:12] = 5 * torch.randn(3, 4, 4)
    maps = grad_cam_maps(Tokens(), images, torch.arange(4))
    assert maps is not None
    assert maps.shape == (4, 4, 4)
    assert [divmod(int(one.argmax()), 4) for one in maps] == [(0, 2), (1, 2), (2, 2), (3, 2)]


class ChannelsLast(Tokens):
    """The same, as (B, h, w, C)."""

    def forward(self, images: Tensor) -> Tensor:
        found = self.block(self.patches(images).abs().permute(0, 2, 3, 1))
        return torch.stack([found[:, row, 2].sum(1) for row in range(4)], dim=1)


def test_channels_may_come_last() -> None:
    torch.manual_seed(0)
    images = torch.zeros(4, 3, 16, 16)
    for row in range(4):
        images[row, :, 4 * row : 4 * row + 4, 8:12] = 5 * torch.randn(3, 4, 4)
    maps = grad_cam_maps(ChannelsLast(), images, torch.arange(4))
    assert maps is not None
    assert [divmod(int(one.argmax()), 4) for one in maps] == [(0, 2), (1, 2), (2, 2), (3, 2)]


@pytest.mark.parametrize("frozen", [False, True])
def test_it_works_where_nothing_has_gradients(frozen: bool) -> None:
    backbone = make_backbone("test_resnet", 64)
    expected = grad_cam_maps(backbone, images := torch.randn(2, 3, 64, 64), targets := torch.tensor([0, 1]))
    backbone.requires_grad_(not frozen)
    with torch.inference_mode():
        found = grad_cam_maps(backbone, images.clone(), targets.clone())
    assert expected is not None
    assert found is not None
    np.testing.assert_array_equal(found, expected)
    assert all(parameter.requires_grad is not frozen for parameter in backbone.parameters())


def test_a_large_batch_is_cut_into_small_ones_without_a_difference() -> None:
    backbone = make_backbone("test_resnet", 64)
    images, targets = torch.randn(11, 3, 64, 64), torch.arange(11) % 3
    whole = grad_cam_maps(backbone, images, targets)
    single = [grad_cam_maps(backbone, images[n : n + 1], targets[n : n + 1]) for n in range(11)]
    assert whole is not None
    np.testing.assert_allclose(whole, np.concatenate([one for one in single if one is not None]), atol=1e-4)


def test_gradients_of_a_training_stay() -> None:
    backbone = make_backbone("test_resnet", 64)
    backbone(torch.randn(2, 3, 64, 64)).sum().backward()
    before = [copy.deepcopy(parameter.grad) for parameter in backbone.parameters()]
    grad_cam_maps(backbone, torch.randn(2, 3, 64, 64), torch.tensor([0, 1]))
    for parameter, gradient in zip(backbone.parameters(), before, strict=True):
        assert gradient is not None
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)


def test_a_model_without_positions_has_none() -> None:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))
    assert grad_cam_maps(backbone, torch.randn(2, 3, 8, 8), torch.tensor([0, 1])) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_maps() -> None:
    backbone = make_backbone("test_resnet", 64)
    images, targets = torch.randn(3, 3, 64, 64), torch.arange(3)
    expected = grad_cam_maps(backbone, images, targets)
    found = grad_cam_maps(backbone.cuda(), images.cuda(), targets.cuda())
    assert expected is not None
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=0.02)


# -- for images ------------------------------------------------------------------------------------------------


def make_images(folder: Path) -> tuple[list[ImageRecord], Predictions]:
    records = [ImageRecord(str(make_photo(folder / f"{number}.png", number, (40, 36)))) for number in range(3)]
    labels, ones = np.zeros(3, np.int64), np.ones(3, np.float32)
    return records, Predictions(labels, np.array([1, 2, 3]), ones, ones)


def test_images_are_prepared_as_they_were_scored(tmp_path: Path) -> None:
    records, predictions = make_images(tmp_path)
    model = make_model()
    maps = cam_function(model, records, predictions, CPU)([2, 0])
    assert list(maps) == [2, 0]
    assert all(one.ndim == 2 and one.dtype == np.float32 for one in maps.values())
    assert not cam_function(model, records, predictions, CPU)([])


def test_a_failure_costs_the_maps_alone(tmp_path: Path) -> None:
    records, predictions = make_images(tmp_path)
    Path(records[1].path).unlink()
    with pytest.warns(UserWarning, match="Grad-CAM could not be made, the rest continues: cannot read"):
        assert not cam_function(make_model(), records, predictions, CPU)([0, 1])


def test_a_backbone_without_positions_gives_a_warning(tmp_path: Path) -> None:
    records, predictions = make_images(tmp_path)
    model = make_model()
    model.backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert not cam_function(model, records, predictions, CPU)([0, 1])
    assert [str(one.message) for one in caught] == [
        "no Grad-CAM: no layer of Sequential has an output that lies over the image"
    ]
