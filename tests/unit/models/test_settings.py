from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests.helpers.training import IMAGE_SIZE, LIGHTNING_NOTICES, assert_same, make_loader, make_trainer, snapshot

from classifier_training.config.schema import Config
from classifier_training.errors import ConfigError
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.checkpoint import load_model
from classifier_training.models.freeze_backbone import FreezeBackbone
from classifier_training.models.settings import ModelSettings
from classifier_training.models.task import SingleLabelTask

pytestmark = LIGHTNING_NOTICES
SECTIONS: dict[str, Any] = {
    "seed": 7,
    "model": {"drop_rate": 0.25, "freeze_epochs": 1, "freeze_norm_stats": True, "channels_last": False},
    "loss": {"name": "focal", "label_smoothing": 0.0},
    "optimizer": {"name": "sgd", "lr": 0.125},
    "scheduler": {"warmup_epochs": 0.0},
}
IMAGES = torch.randn(4, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(0))


def make_model(**options: Any) -> BaseClassificationModel:
    torch.manual_seed(0)
    return BaseClassificationModel("test_resnet", ["no", "yes"], image_size=IMAGE_SIZE, **options)


def test_the_defaults_are_those_of_a_run() -> None:
    of_run = ModelSettings.from_config(Config())
    assert of_run.loss == SingleLabelTask.default_loss
    assert ModelSettings(loss=of_run.loss) == of_run


def test_they_are_the_model_s_part_of_a_configuration() -> None:
    settings = ModelSettings.from_config(Config.model_validate(SECTIONS))
    expected = {"seed": 7, **SECTIONS["model"]}
    assert settings.model_dump(include=set(expected)) == expected
    assert settings.loss is not None
    assert (settings.loss.name, settings.optimizer.lr, settings.scheduler.warmup_epochs) == ("focal", 0.125, 0.0)


def test_of_a_configuration_as_plain_values_only_the_models_sections_are_read() -> None:
    others = {"data": {"a setting of another version": 1}, "report": {"num_pictures": 3}}
    assert ModelSettings.from_config(SECTIONS | others) == ModelSettings.from_config(SECTIONS)
    with pytest.raises(ValidationError, match="optimiser"):
        ModelSettings.from_config({"optimiser": {"lr": 1.0}})


def test_a_setting_that_a_model_does_not_have_is_refused() -> None:
    with pytest.raises(ValidationError, match="batch_size"):
        make_model(settings={"batch_size": 3})


def test_a_checkpoint_holds_the_settings_and_nothing_else_of_a_configuration() -> None:
    model = make_model(settings=ModelSettings.from_config(SECTIONS))
    assert "config" not in model.hparams
    assert model.hparams["settings"].keys() == ModelSettings.model_fields.keys()
    assert BaseClassificationModel(**dict(model.hparams)).settings == model.settings


def old_checkpoint(path: Path, trainer: Any, model: BaseClassificationModel) -> Path:
    """A checkpoint in the form of version 0.1, whose hyperparameters hold the whole configuration."""
    trainer.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    del content["hyper_parameters"]["settings"]
    config = Config.model_validate(SECTIONS).model_dump(mode="json")
    content["hyper_parameters"]["config"] = config | {"report": {"a setting of that version": 24}}
    torch.save(content, path)
    return path


def test_a_checkpoint_of_version_0_1_is_loaded_and_resumed(tmp_path: Path) -> None:
    def fit(max_epochs: int, checkpoint: Path | None = None) -> tuple[Any, BaseClassificationModel]:
        model = make_model(settings=ModelSettings.from_config(SECTIONS))
        trainer = make_trainer(tmp_path, max_epochs=max_epochs)
        trainer.fit(
            model, make_loader(3, num_classes=2), make_loader(1, num_classes=2), ckpt_path=checkpoint, weights_only=True
        )
        return trainer, model

    trainer, model = fit(1)
    path = old_checkpoint(tmp_path / "old.ckpt", trainer, model)
    for loaded in (load_model(path), BaseClassificationModel.load_from_checkpoint(path, weights_only=True)):
        assert loaded.settings == model.settings
        assert_same(snapshot(loaded), snapshot(model))
        assert torch.equal(loaded.eval()(IMAGES), model.eval()(IMAGES))
    trainer.save_checkpoint(tmp_path / "new.ckpt")
    resumed, expected = fit(2, path)[1], fit(2, tmp_path / "new.ckpt")[1]
    assert_same(snapshot(resumed), snapshot(expected))


def test_a_whole_configuration_is_still_taken_with_a_notice() -> None:
    config = Config.model_validate(SECTIONS)
    with pytest.warns(DeprecationWarning, match=r"config=…\) is the form of version 0\.1; use settings=") as caught:
        model = make_model(config=config)
    assert [Path(warning.filename).name for warning in caught] == ["test_settings.py"]
    assert model.settings == ModelSettings.from_config(config)


def test_two_sources_of_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="settings and config are two sources"):
        make_model(config=SECTIONS, settings={"seed": 1})


def test_a_model_built_as_in_version_0_1_freezes_itself_in_any_trainer(tmp_path: Path) -> None:
    model = make_model(config=SECTIONS)
    before = snapshot(model.backbone)
    trainer: Any = make_trainer(tmp_path)
    trainer.fit(model, make_loader(2, num_classes=2), make_loader(1, num_classes=2))
    assert [callback.epochs for callback in trainer.callbacks if isinstance(callback, FreezeBackbone)] == [1]
    changed = {key for key, value in snapshot(model.backbone).items() if not torch.equal(value, before[key])}
    assert changed == {"fc.weight", "fc.bias"}
