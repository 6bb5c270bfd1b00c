from __future__ import annotations

import pytest

from classifier_training.config.compose import load_config
from classifier_training.errors import ConfigError

SCHEDULES = "one of cosine, constant, linear, one_cycle, step, poly, cosine_restarts, plateau"
BETAS = "[a, b], each a number, at least 0 and below 1, or [a, b, c], each a number, at least 0 and below 1"
TO_CHOOSE = "To choose the devices, put CUDA_VISIBLE_DEVICES=1,3 before the command"


def faults(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_config(overrides)
    return str(raised.value).splitlines()


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("data.batchsize", "data.batch_size"),
        ("data.bacth_size", "data.batch_size"),
        ("batch_size", "data.batch_size=3"),
        ("batchsize", "data.batch_size"),
        ("BATCH_SIZE", "data.batch_size=3"),
        ("lr", "optimizer.lr=3"),
        ("model.lr", "optimizer.lr"),
        ("epochs", "trainer.max_epochs=3"),
        ("train.epochs", "trainer.max_epochs"),
        ("train.amp", "trainer.precision"),
        ("imgsz", "data.image_size=3"),
        ("train.max_epochs", "trainer.max_epochs"),
        ("optim.weight_decay", "optimizer.weight_decay"),
        ("sede", "seed"),
        ("modle", "model"),
    ],
)
def test_an_unknown_key_is_answered_with_the_one_meant(key: str, nearest: str) -> None:
    (line,) = faults(f"{key}=3")
    assert line.startswith(f"{key}=3 (argument): no s")
    assert line.endswith(f"; did you mean {nearest}?")


def test_an_unknown_section_is_named() -> None:
    assert faults("optimiser.lr=3") == ["optimiser.lr=3 (argument): no section optimiser; did you mean optimizer.lr?"]


def test_a_name_that_many_sections_have_is_answered_with_some_of_them() -> None:
    (line,) = faults("enabled=false")
    assert "ema.enabled" in line
    assert "export.enabled" in line


def test_a_key_like_no_other_is_answered_with_where_to_look() -> None:
    assert faults("zzz=1") == ["zzz=1 (argument): no such setting; `classifier-training config options` lists all"]


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("optimizer=sgd", "optimizer.name=sgd"),
        ("optimizer=AdamW", "optimizer.name=adamw"),
        ("data=photos", "data.root=photos"),
        ("run=first", "run.name=first"),
    ],
)
def test_a_section_set_as_a_whole_is_answered_with_its_main_setting(override: str, meant: str) -> None:
    (line,) = faults(override)
    assert line.endswith(f"is a section, not a setting; did you mean {meant}?")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=5", "did you mean trainer.max_epochs=5?"),
        ("batch=-1", "did you mean data.batch_size=auto?"),
        ("batch=-2", "did you mean data.batch_size? It must be a whole number, at least 1, or auto"),
        ("optim=lamb", "did you mean optimizer.name=lamb?"),
        ("train_scale=[1", "did you mean data.train_scale? It must be [a, b], each a number, above 0 and at most 1"),
        ("input=my photos", "did you mean 'data.root=my photos'?"),
        ("arch=resnet50", "did you mean model=resnet50?"),
        ("arch=resnet51", "did you mean model.name=resnet51?"),
        ("amp=False", "did you mean trainer.precision=32-true?"),
        ("device=cpu", "did you mean trainer.accelerator=cpu?"),
        ("device=1,3", f"did you mean trainer.accelerator=gpu trainer.devices=2? {TO_CHOOSE}"),
    ],
)
def test_a_setting_of_another_trainer_is_answered_with_the_words_to_type(override: str, message: str) -> None:
    assert faults(override) == [f"{override} (argument): no such setting; {message}"]


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("data.batch_size=big", "a whole number, at least 1, or auto"),
        ("data.batch_size=64.5", "a whole number, at least 1, or auto"),
        ("data.batch_size=64.0", "a whole number, at least 1, or auto"),
        ("data.batch_size=true", "a whole number, at least 1, or auto"),
        ("data.batch_size=null", "a whole number, at least 1, or auto"),
        ("data.batch_size=0", "a whole number, at least 1, or auto"),
        ("data.batch_size=1,2", "a whole number, at least 1, or auto"),
        ("data.batch_size=${seed}", "a whole number, at least 1, or auto"),
        ("data.batch_size='64'", "a whole number, at least 1, or auto"),
        ("data.batch_size=9999999999999999999999", "a whole number, at least 1, or auto"),
        ("data.image_size=x", "a whole number, at least 1, or null"),
        ("seed=-1", "a whole number, at least 0 and below 4294967296"),
        ("optimizer.lr=nan", "a number, above 0, or find"),
        ("optimizer.lr=1e999", "a number, above 0, or find"),
        ("optimizer.lr=true", "a number, above 0, or find"),
        ("ema.decay=1", "a number, at least 0 and below 1"),
        ("ema.enabled=yes", "true or false"),
        ("ema.enabled=1", "true or false"),
        ("trainer.devices=0", "a whole number, at least 1, or auto"),
        ("trainer.devices=all", "a whole number, at least 1, or auto"),
        ("scheduler.name=cosin", f"{SCHEDULES}; did you mean cosine?"),
        ("optimizer.betas=[0.9]", f"{BETAS}, or null"),
        ("scheduler.milestones=[]", "[a, b, …], each a number, above 0 and below 1"),
        ("data.train_scale=[0.5,a]", "[a, b], each a number, above 0 and at most 1"),
        ("data.train_scale=[0.5,true]", "[a, b], each a number, above 0 and at most 1"),
        ("data.train_scale=['0.5',1]", "[a, b], each a number, above 0 and at most 1"),
        ("data.train_scale=[0.5]", "[a, b], each a number, above 0 and at most 1"),
        ("data.train_scale=[]", "[a, b], each a number, above 0 and at most 1"),
        ("data.train_scale=0.5", "[a, b], each a number, above 0 and at most 1"),
    ],
)
def test_a_wrong_value_is_answered_with_what_is_allowed(override: str, allowed: str) -> None:
    assert faults(override) == [f"{override} (argument): must be {allowed}"]


def test_each_wrong_class_weight_is_named() -> None:
    lines = faults(
        "data.class_weights={a: 1, b: -1, c: x}", "data.balance_weighting=manual", "data.balance=loss_weights"
    )
    assert [line.partition(" ")[0] for line in lines] == ["data.class_weights.b=-1", "data.class_weights.c=x"]


def test_a_broken_mapping_is_reported_with_its_form() -> None:
    (line,) = faults("data.class_weights={a: 1")
    assert "is not valid YAML" in line
    assert "must be {class: weight, …}" in line


def test_text_that_is_no_unicode_is_reported() -> None:
    (line,) = faults("data.root=/photos/\udcff")
    assert line == "data.root=/photos/\\udcff (argument): is not valid Unicode text; rename the file or folder"


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["data.test_fraction=0.9"],
            (
                "data.val_fraction=0.15 (default), data.test_fraction=0.9 (argument): leave no photo for training;"
                " their sum must be below 1"
            ),
        ),
        (
            ["model.pretrained=true", "model.weights=a.safetensors"],
            (
                "model.pretrained=true (argument), model.weights=a.safetensors (argument): two sources of"
                " weights; give one of them"
            ),
        ),
        (
            ["data.class_weights={a:1}"],
            (
                "data.class_weights={a:1} (argument), data.balance_weighting=inverse (default): weights by class"
                " need balance_weighting=manual"
            ),
        ),
        (
            ["data.balance_weighting=manual", "data.balance=sampler"],
            (
                "data.balance_weighting=manual (argument), data.class_weights=null (default): manual weighting"
                " needs class_weights={class: weight, …}"
            ),
        ),
        (
            ["data.balance_weighting=manual", "data.class_weights.a=1"],
            (
                "data.balance_weighting=manual (argument), data.balance=none (default): manual weights are used by"
                " balance=sampler or loss_weights only"
            ),
        ),
        (["data.train_scale=[1,0.5]"], "data.train_scale=[1,0.5] (argument): must rise, as [smallest, largest]"),
        (["data.train_ratio=[2,1]"], "data.train_ratio=[2,1] (argument): must rise, as [smallest, largest]"),
        (
            ["data.gaussian_blur_sigma=[2,1]", "data.gaussian_blur=0.5"],
            "data.gaussian_blur_sigma=[2,1] (argument): must rise, as [smallest, largest]",
        ),
        (
            ["data.gaussian_blur_sigma=[0.1,1]"],
            (
                "data.gaussian_blur_sigma=[0.1,1] (argument), data.gaussian_blur=0 (default): no image is blurred;"
                " set gaussian_blur, or auto_augment=3augment"
            ),
        ),
        (
            ["data.auto_augment=trivialaugment", "data.randaugment_magnitude=15"],
            (
                "data.randaugment_magnitude=15 (argument), data.auto_augment=trivialaugment (argument):"
                " randaugment_magnitude is used by auto_augment=randaugment only"
            ),
        ),
        (
            ["data.augmix_depth=2"],
            (
                "data.augmix_depth=2 (argument), data.auto_augment=none (default): augmix_depth is used by"
                " auto_augment=augmix only"
            ),
        ),
    ],
)
def test_settings_that_contradict_each_other_are_reported_together(overrides: list[str], line: str) -> None:
    assert faults(*overrides) == [line]


def test_a_contradiction_is_reported_beside_another_fault_of_its_section_but_not_about_it() -> None:
    lines = faults("data.train_scale=[1,0.5]", "data.val_fraction=x", "data.test_fraction=0.9", "data.batch_size=x")
    assert [line.partition("=")[0] for line in lines] == ["data.batch_size", "data.val_fraction", "data.train_scale"]


def test_a_fault_stays_one_short_line() -> None:
    (line,) = faults("data.batch_size=a\nb\x1b[31m" + "c" * 500)
    assert line.startswith("data.batch_size=a\\nb\\x1b[31mccc")
    assert len(line) < 160


@pytest.mark.parametrize("override", ["a\nb=1", "dta.a\nb=1", "+a\nb=1", "~a\nb", "a\nb=", "model=a\nb"])
def test_a_line_break_in_a_key_stays_in_the_line(override: str) -> None:
    assert len(faults(override)) == 1


def test_an_unknown_preset_is_answered_with_the_presets_and_the_way_around_them() -> None:
    (line,) = faults("model=resnet34")
    assert line.startswith("model=resnet34 (argument): no such preset (nearest: resnet")
    assert "convnext_tiny, efficientnet_b0," in line
    assert line.endswith("a model that timm knows needs no preset: model.name=resnet34")
