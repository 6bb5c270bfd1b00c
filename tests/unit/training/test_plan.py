from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from tests.helpers.hub import fill_cache
from tests.helpers.photos import make_photos, make_split_photos

from classifier_training.config import load_config
from classifier_training.config.schema import Config
from classifier_training.errors import ConfigError, DataError, ModelError
from classifier_training.models.device import resolve_accelerator
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.plan import MAX_CLASSES_SHOWN, Plan, describe_plan, make_plan


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_split_photos(tmp_path_factory.mktemp("photos"), train=3, val=2, test=1)


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of the backbone in the hub's cache."""
    monkeypatch.setattr("classifier_training.training.candidates.SMALL_SIDE", 1)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return fill_cache(tmp_path / "hub", b"")


def plan_of(photos: Path, *overrides: str) -> Plan:
    settings = load_config([f"data.root={photos}", "model.name=test_resnet", "trainer.accelerator=cpu", *overrides])
    return make_plan(settings, Terminal(quiet=True))


def test_what_is_automatic_is_decided(photos: Path) -> None:
    plan = plan_of(photos, "model.pretrained=false")
    config = plan.config
    assert (config.model.freeze_epochs, config.model.freeze_norm_stats) == (0, False)
    assert config.optimizer.backbone_lr_scale == 1.0
    assert (config.trainer.precision, plan.accelerator) == ("32-true", "cpu")
    assert (config.data.image_size, config.data.crop_pct) == (160, 0.95)
    assert (plan.preprocessing.image_size, plan.preprocessing.crop_pct) == (160, 0.95)
    assert config.data.root == str(photos.resolve())


def test_a_decided_plan_decides_the_same_again(photos: Path) -> None:
    config = plan_of(photos, "model.pretrained=true").config
    assert make_plan(config, Terminal(quiet=True)).config == config
    assert Config.model_validate(config.model_dump()) == config


@pytest.mark.parametrize(("epochs", "frozen"), [(1, 0), (2, 1), (4, 1), (20, 5)])
@pytest.mark.parametrize("source", ["model.pretrained=true", "model.weights=w.safetensors"])
def test_weights_that_are_started_from_are_treated_gently(photos: Path, source: str, epochs: int, frozen: int) -> None:
    config = plan_of(photos, source, "recipe.name=finetune", f"trainer.max_epochs={epochs}").config
    assert (config.model.freeze_epochs, config.model.freeze_norm_stats) == (frozen, True)
    assert config.optimizer.backbone_lr_scale == 0.1


@pytest.mark.parametrize(
    ("overrides", "frozen"),
    [
        (["model.pretrained=true", "recipe=finetune"], 2),
        (["model.pretrained=true", "recipe=finetune", "model.freeze_stages=0"], 0),
        (["model.pretrained=true", "recipe=finetune", "model.freeze_stages=5"], 5),
        (["model.pretrained=true", "model.freeze_stages=1"], 1),
        (["model.pretrained=true", "recipe=finetune", "model.freeze_epochs=0"], 0),
        (["model.pretrained=true", "recipe.name=finetune"], 0),
        (["model.pretrained=false"], 0),
    ],
    ids=str,
)
def test_a_fine_tuning_on_a_cpu_freezes_the_first_half_of_the_stages(
    photos: Path, overrides: list[str], frozen: int
) -> None:
    assert plan_of(photos, *overrides).config.model.freeze_stages == frozen


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.pretrained=true", "model.freeze_stages=6"], "test_resnet has 5 stages, the stem counted as one"),
        (["model.pretrained=false", "model.freeze_stages=1"], "would keep random weights"),
    ],
)
def test_stages_that_cannot_be_frozen_are_refused(photos: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(photos, *overrides)


def test_what_the_user_chose_stays(photos: Path) -> None:
    overrides = ["model.freeze_epochs=3", "model.freeze_norm_stats=false", "optimizer.backbone_lr_scale=0.5"]
    overrides += ["data.image_size=64", "data.crop_pct=1.0", "trainer.precision=bf16-mixed"]
    config = plan_of(photos, "model.pretrained=true", *overrides).config
    assert (config.model.freeze_epochs, config.model.freeze_norm_stats) == (3, False)
    assert config.optimizer.backbone_lr_scale == 0.5
    assert (config.data.image_size, config.data.crop_pct) == (64, 1.0)
    assert config.trainer.precision == "bf16-mixed"


@pytest.mark.parametrize(
    ("recipe", "without"),
    [("recipe=finetune", ["model.pretrained=true"]), ("recipe=scratch", ["model.pretrained=false"])],
    ids=str,
)
def test_a_recipe_is_what_is_chosen_without_it(photos: Path, recipe: str, without: list[str]) -> None:
    assert plan_of(photos, recipe).config == plan_of(photos, *without).config


def test_without_weights_to_be_had_a_training_from_scratch_is_pinned_and_warned_of(
    photos: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights.unlink()
    plan = plan_of(photos)
    assert (plan.config.model.pretrained, plan.config.model.freeze_norm_stats) == (False, False)
    assert plan.weights is not None
    assert not plan.weights
    describe_plan(plan, Terminal())
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "warning: training from scratch, as no pretrained weights were found: no installed package has them, nor"
        in shown
    )
    assert plan_of(photos, "model.pretrained=false").config == plan.config


def test_weights_that_are_found_are_pinned(photos: Path, weights: Path) -> None:
    plan = plan_of(photos)
    assert plan.config.model.pretrained is True
    assert plan.weights is not None
    assert plan.weights.path == weights


@pytest.mark.parametrize(
    ("wanted", "instead"),
    [
        ("model.pretrained=true", "model.pretrained=false"),
        ("recipe=finetune", "recipe=scratch"),
        ("recipe=probe", "recipe=scratch"),
    ],
)
def test_weights_that_are_asked_for_must_be_there(photos: Path, weights: Path, wanted: str, instead: str) -> None:
    weights.unlink()
    reason = (
        rf"^{wanted}: there are no pretrained weights of test_resnet: .*=FILE, or train from scratch with {instead}$"
    )
    with pytest.raises(ModelError, match=reason):
        plan_of(photos, wanted)


def test_a_run_that_continues_from_a_checkpoint_looks_for_no_weights(photos: Path, weights: Path) -> None:
    weights.unlink()
    config = load_config([f"data.root={photos}", "model.name=test_resnet", "model.pretrained=true"])
    plan = make_plan(config, Terminal(quiet=True), needs_weights=False)
    assert (plan.config.model.pretrained, plan.weights) == (True, None)


def test_a_file_of_weights_is_found_from_everywhere(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plan_of(photos, "model.weights=w.pth").config.model.weights == str(tmp_path / "w.pth")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert plan_of(photos, "model.weights=~/w.pth").config.model.weights == str(tmp_path / "w.pth")


def test_a_wrong_backbone_is_found_before_the_photos_are_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did you mean"):
        plan_of(tmp_path / "none", "model.name=resnet5O")


def test_wrong_photos_are_found(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        plan_of(tmp_path / "none")


def test_a_device_that_is_not_there_is_named_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_accelerator("auto") == resolve_accelerator("cpu") == "cpu"
    for name in ("gpu", "cuda", "mps"):
        with pytest.raises(ConfigError, match=rf"trainer\.accelerator={name}: .*available: cpu"):
            resolve_accelerator(name)


def test_the_fastest_device_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_accelerator("auto") == resolve_accelerator("gpu") == resolve_accelerator("cuda") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_accelerator("auto") == resolve_accelerator("gpu") == resolve_accelerator("mps") == "mps"


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16-mixed"), (False, "16-mixed")])
def test_a_gpu_computes_in_half_precision(
    photos: Path, monkeypatch: pytest.MonkeyPatch, has_bf16: bool, precision: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16 or including_emulation)
    assert plan_of(photos, "trainer.accelerator=cuda").config.trainer.precision == precision


def test_half_precision_that_a_cpu_has_not_is_refused(photos: Path) -> None:
    with pytest.raises(ConfigError, match="16-mixed needs a GPU; a CPU takes bf16-mixed or 32-true"):
        plan_of(photos, "trainer.precision=16-mixed", "trainer.accelerator=cpu")


def test_the_plan_is_said(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    describe_plan(plan_of(photos, "recipe.name=finetune", "optimizer.lr=0.002", "data.batch_size=7"), Terminal())
    shown = capsys.readouterr().out
    assert f"photos: {photos}" in shown
    source = "test_resnet, from timm/test_resnet.r160_in1k of the hub's cache (licence apache-2.0)"
    for text in (
        "2 classes",
        source,
        "batch size 7",
        "lr 0.002",
        "160 px",
        "val/top1",
    ):
        assert text in shown
    table = [line.replace("│", " ").split() for line in shown.splitlines()]
    assert [row for row in table if row[:1] in (["class"], ["cat"], ["dog"], ["all"])] == [
        ["cat", "3", "2", "1"],
        ["dog", "3", "2", "1"],
        ["all", "6", "4", "2"],
    ]


@pytest.mark.parametrize(("steps", "warned"), [(3, False), (4, True)])
def test_an_average_that_would_never_begin_is_warned_of(
    photos: Path, capsys: pytest.CaptureFixture[str], steps: int, warned: bool
) -> None:
    plan = plan_of(photos, f"ema.warmup_steps={steps}", "data.batch_size=2", "trainer.max_epochs=2")
    assert plan.num_batches == 3
    wide = plan_of(photos, f"ema.warmup_steps={steps}", "trainer.max_epochs=4", "data.batch_size=99")
    describe_plan(wide, Terminal(quiet=True))
    told = "ema.warmup_steps=4 is as long as the training, 4 optimizer steps"
    assert (told in capsys.readouterr().out) is warned


def test_many_classes_are_not_all_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    num_classes = MAX_CLASSES_SHOWN + 2
    counts = {f"{split}/class{number:03}": 1 for split in ("train", "val") for number in range(num_classes)}
    describe_plan(plan_of(make_photos(tmp_path, counts)), Terminal())
    shown = capsys.readouterr().out
    assert f"class{MAX_CLASSES_SHOWN - 1:03}" in shown
    assert f"class{MAX_CLASSES_SHOWN:03}" not in shown
    assert "…" in shown


def test_bad_images_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = make_split_photos(tmp_path, train=3, val=2, test=0)
    (photos / "train" / "cat" / "broken.jpg").write_bytes(b"no image")
    describe_plan(plan_of(photos, "data.on_bad_image=skip"), Terminal(quiet=True))
    shown = capsys.readouterr().out
    assert "warning: 1 unreadable file(s) left out" in shown
    assert "broken.jpg" in shown


def test_a_learning_rate_for_other_batches_is_scaled_once(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["optimizer.lr=0.01", "optimizer.lr_base_batch_size=8", "trainer.accumulate_grad_batches=2"]
    plan = plan_of(photos, *words, "data.batch_size=2")
    assert (plan.config.optimizer.lr, plan.config.optimizer.lr_base_batch_size) == (0.005, 4)
    assert make_plan(plan.config, Terminal(quiet=True)).config == plan.config
    describe_plan(plan, Terminal())
    shown = " ".join(capsys.readouterr().out.split())
    assert "0.005 for 4 images a step: 0.01 for 8, scaled in proportion" in shown
