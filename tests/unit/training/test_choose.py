from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub import constants
from tests.helpers.hub import fill_cache
from tests.helpers.photos import make_split_photos

from classifier_training.config import Config, load_config
from classifier_training.errors import ConfigError, ModelError
from classifier_training.models.starting_weights import StartingWeights
from classifier_training.terminal.terminal import Terminal
from classifier_training.training import candidates
from classifier_training.training import choose as choosing
from classifier_training.training.candidates import Facts, epochs_of_recipe
from classifier_training.training.choose import Choice, choose, completed, is_open
from classifier_training.training.plan import Plan, describe_plan, make_plan
from classifier_training.training.start import New, find_start

CLOTHING = Facts(767, 600, "cpu", num_cpus=2)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The backbones with weights to be had: any, unless a test takes some away."""
    names = {*timm.list_models()}

    def find(name: str, *, ask_network: bool = True, **_: object) -> StartingWeights:
        if name in names:
            return StartingWeights("package", f"weights of {name}", "installed")
        return StartingWeights("missing", "", "the hub is out of reach" if ask_network else "the hub was not asked")

    monkeypatch.setattr(choosing, "find_weights", find)
    return names


def chosen(facts: Facts, *overrides: str) -> Choice:
    return choose(load_config(overrides), facts)


def test_few_photos_on_two_cores_get_the_quickest_backbone_with_weights(there: set[str]) -> None:
    choice = chosen(CLOTHING)
    assert choice.settings == {"model": "tf_efficientnet_lite0", "recipe": "finetune"}
    assert choice.reasons == {
        "model=auto": (
            "tf_efficientnet_lite0 at 224 px: 767 images of about 600 px, cpu, weights of tf_efficientnet_lite0;"
            " made for CPUs, the quickest with good weights"
        ),
        "recipe=auto": "finetune: there are weights to start from",
    }


@pytest.mark.parametrize(
    ("facts", "model", "image_size"),
    [
        (Facts(767, 600, "cpu", num_cpus=16), "tf_efficientnet_lite2", None),
        (Facts(767, 100, "cpu", num_cpus=16), "tf_efficientnet_lite0", None),
        (Facts(20_000, 600, "cpu", num_cpus=2), "tf_efficientnet_lite0", 160),
        (Facts(767, 600, "cpu", num_cpus=2, seconds=60.0), "tf_efficientnet_lite0", 160),
        (Facts(767, 600, "cpu", num_cpus=2, seconds=180.0), "tf_efficientnet_lite0", None),
        (Facts(767, 600, "cpu", num_cpus=2, seconds=3600.0), "tf_efficientnet_lite2", None),
        (Facts(767, 600, "cuda"), "convnext_tiny", None),
        (Facts(1_000_000, 600, "cuda", num_devices=8), "convnext_tiny", None),
        (Facts(50_000, 600, "cuda", seconds=600.0, epochs=12), "tf_efficientnet_lite1", None),
        (Facts(50_000, 600, "cuda", seconds=600.0, epochs=50), "tf_efficientnet_lite0", None),
    ],
)
def test_photos_device_and_time_decide(there: set[str], facts: Facts, model: str, image_size: int | None) -> None:
    settings = chosen(facts).settings
    assert (settings["model"], settings.get("data.image_size")) == (model, image_size)


def test_a_time_limit_shorter_than_an_epoch_is_for_a_probe(there: set[str]) -> None:
    choice = chosen(Facts(767, 600, "cpu", num_cpus=2, seconds=20.0))
    assert choice.settings["recipe"] == "probe"
    assert choice.reasons["recipe=auto"] == "probe: 20 s are less than an epoch takes"


def test_without_the_best_weights_the_next_are_taken(there: set[str]) -> None:
    there.remove("convnext_tiny")
    assert chosen(Facts(767, 600, "cuda")).settings["model"] == "tf_efficientnet_lite2"
    there.clear()
    there.add("resnet50")
    assert chosen(CLOTHING).settings["model"] == "resnet50"


@pytest.mark.parametrize(
    ("facts", "settings"),
    [
        (Facts(767, 600, "cpu", num_cpus=2), {"model": "resnet10t", "data.image_size": 128}),
        (Facts(767, 600, "cpu", num_cpus=8), {"model": "resnet18"}),
        (Facts(9_000, 600, "cuda"), {"model": "resnet18"}),
        (Facts(90_000, 600, "cuda"), {"model": "resnet50"}),
        (Facts(9_000, 32, "cuda"), {"model": "resnet18", "data.image_size": 32, "data.crop_pct": 1.0}),
        (Facts(1_000, 48, "cpu"), {"model": "resnet10t", "data.image_size": 64, "data.crop_pct": 1.0}),
    ],
)
@pytest.mark.parametrize("wanted", ["model.pretrained=auto", "model.pretrained=false"])
def test_without_weights_a_backbone_learns_from_scratch(
    there: set[str], facts: Facts, settings: dict[str, object], wanted: str
) -> None:
    there.clear()
    choice = chosen(facts, wanted)
    assert choice.settings == settings | {"recipe": "scratch"}
    assert not choice.weights


SCRATCH = "there are no weights to start from"


@pytest.mark.parametrize(
    ("facts", "words", "recipe"),
    [
        (Facts(10_000, 64, "cuda"), [], f"scratch_32px: {SCRATCH}; 10,000 small images and a GPU"),
        (
            Facts(50_000, 32, "mps"),
            ["model.pretrained=false"],
            "scratch_32px: model.pretrained=false; 50,000 small ima",
        ),
        (Facts(9_999, 32, "cuda"), [], "scratch: the images are"),
        (Facts(50_000, 32, "cpu"), [], "scratch: the images are"),
        (Facts(50_000, 32, "cuda"), ["model=resnet50"], "scratch: the images are"),  # the recipe has another backbone
        (Facts(10_000, 600, "cuda", epochs=50), [], f"scratch_long: {SCRATCH}; 10,000 images and 50 epochs"),
        (Facts(10_000, 600, "cuda", epochs=50), ["model=resnet50", "model.pretrained=false"], "scratch_long: "),
        (  # which takes images of one size alone
            Facts(10_000, 600, "cuda", epochs=50),
            ["model=vit_small_patch16_224", "model.pretrained=false"],
            "scratch: ",
        ),
        (Facts(10_000, 600, "cuda", epochs=49), [], f"scratch: {SCRATCH}"),
        (Facts(9_999, 600, "cuda", epochs=90), [], f"scratch: {SCRATCH}"),
        (Facts(10_000, 600, "cuda", seconds=7200.0), [], f"scratch_long: {SCRATCH}; 10,000 images and time for 50 "),
        (Facts(10_000, 600, "cuda", seconds=120.0), [], f"scratch: {SCRATCH}"),
        (Facts(10_000, 600, "cuda", seconds=7200.0, epochs=10), [], f"scratch: {SCRATCH}"),
    ],
)
def test_many_images_and_many_epochs_from_scratch_have_recipes_of_their_own(
    there: set[str], facts: Facts, words: list[str], recipe: str
) -> None:
    there.clear()
    choice = chosen(facts, *words)
    assert choice.reasons["recipe=auto"].startswith(recipe)
    assert choice.settings["recipe"] == recipe.split(":")[0]
    if recipe.startswith("scratch_32px"):
        assert choice.settings == {"model": "resnet18", "recipe": "scratch_32px", "recipe.name": "scratch"}
        config = completed(load_config(words), choice.settings)
        assert (config.model.name, config.data.image_size, config.recipe.name) == ("resnet18", 128, "scratch")


def test_the_number_of_epochs_is_that_of_the_preset_of_the_recipe(there: set[str]) -> None:
    assert epochs_of_recipe("scratch_32px") == load_config(["recipe=scratch_32px"]).trainer.num_epochs == 40
    assert epochs_of_recipe("finetune") == load_config(["recipe=finetune"]).trainer.default_epochs < 20
    assert epochs_of_recipe("scratch") == 20


def test_small_images_are_trained_from_scratch_also_with_a_named_backbone(there: set[str]) -> None:
    choice = chosen(Facts(50_000, 32, "cpu"), "model=resnet18")
    assert choice.settings == {"recipe": "scratch"}
    assert choice.reasons["recipe=auto"] == "scratch: the images are of about 32 px, too small for pretrained weights"


@pytest.mark.parametrize("wanted", ["model.pretrained=true", "recipe=finetune", "recipe=probe"])
def test_weights_that_are_asked_for_are_used_for_small_images_too(there: set[str], wanted: str) -> None:
    facts = Facts(500, 32, "cpu")
    assert chosen(facts, wanted).weights
    there.clear()
    with pytest.raises(ModelError, match=rf"^{wanted}: there are no .* any of the presets: the hub is out of reach;"):
        chosen(facts, wanted)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], True),
        (["model=resnet18"], True),
        (["model=resnet18", "recipe=scratch"], False),
        (["model=resnet18", "model.pretrained=true"], False),
        (["model=resnet18", "model.weights=a.pth"], False),
        (["recipe=scratch"], True),
    ],
)
def test_what_is_decided_only_with_the_photos(overrides: list[str], expected: bool) -> None:
    assert is_open(load_config(overrides)) is expected


# -- in the plan ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_split_photos(tmp_path_factory.mktemp("photos"), train=3, val=2, test=1)


def plan_of(photos: Path, *overrides: str, file: Path | None = None) -> Plan:
    from classifier_training.config.arguments import read_overrides

    settings = read_overrides(["trainer.accelerator=cpu", *overrides], photos=photos)
    start = find_start(False, settings, file)
    assert isinstance(start, New)
    return make_plan(start.config, Terminal(quiet=True), complete=start.complete)


def test_the_choice_is_pinned_and_printed(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(photos)
    config = plan.config
    assert (config.model.name, config.recipe.name, config.model.pretrained) == ("resnet10t", "scratch", False)
    assert (config.optimizer.lr, config.data.batch_size) == (2e-3, 64), "the settings of its preset"
    describe_plan(plan, Terminal())
    shown = capsys.readouterr().out
    assert "model=auto" in shown
    assert "recipe=auto" in shown
    again = make_plan(config, Terminal(quiet=True), complete=New(config).complete)
    assert (again.config, dict(again.reasons)) == (config, {})


def test_what_the_user_gave_wins_over_the_chosen_preset(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("optimizer: {lr: 0.5}\n")
    config = plan_of(photos, "data.batch_size=7", "data.image_size=40", file=file).config
    assert (config.optimizer.lr, config.data.batch_size, config.data.image_size) == (0.5, 7, 40)
    assert config.optimizer.weight_decay == 0.02, "of the preset"


def test_a_configuration_in_python_is_completed_as_well(photos: Path) -> None:
    config = Config.model_validate({"data": {"root": str(photos), "batch_size": 7}, "trainer": {"accelerator": "cpu"}})
    decided = make_plan(config, Terminal(quiet=True), complete=New(config).complete).config
    assert (decided.model.name, decided.data.batch_size, decided.optimizer.lr) == ("resnet10t", 7, 2e-3)


def test_the_backbone_of_a_file_of_weights_is_recognised(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(timm.create_model("resnet18", num_classes=5).state_dict(), path)
    plan = plan_of(photos, f"model.weights={path}")
    assert (plan.config.model.name, plan.config.recipe.name) == ("resnet18", "finetune")
    assert plan.config.model.weights == str(path)
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"fits none of convnext_tiny, .*: name its backbone with model\.name"):
        plan_of(photos, f"model.weights={path}")


def test_a_named_backbone_with_weights_is_fine_tuned(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    fill_cache(tmp_path, b"")
    monkeypatch.setattr(candidates, "SMALL_SIDE", 1)
    plan = plan_of(photos, "model.name=test_resnet")
    assert (plan.config.recipe.name, plan.config.model.pretrained) == ("finetune", True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["recipe=finetune", "model.pretrained=false"], "recipe=finetune trains pretrained weights on, and"),
        (["recipe=scratch", "model.weights=w.pth"], r"recipe=scratch trains random weights, and model\.weights=w\.pth"),
        (["recipe=scratch", "model.pretrained=true"], "recipe=scratch trains random weights, and model.pretrained"),
    ],
)
def test_a_recipe_that_contradicts_the_weights_is_refused(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(tmp_path / "none", *overrides)
