"""The settings of an evaluation: which of them scoring uses, and what those that were given are."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

from classifier_training.errors import ConfigError
from classifier_training.run.folder import DEPLOYED_SUFFIXES, RunFolder

if TYPE_CHECKING:
    from classifier_training.config.overrides import OverrideLike, Overrides
    from classifier_training.config.schema import Config

SCORING_SETTINGS: Final = (
    "data.root",
    "data.batch_size",
    "data.num_workers",
    "data.image_column",
    "data.label_column",
    "data.split_column",
    "data.on_bad_image",
    "data.on_missing_label",
    "data.max_bad_fraction",
    "data.max_image_pixels",
    "data.cache_dir",
    "data.copies_limit",
    "decision.target_precision",
    "decision.target_coverage",
    "decision.set_coverage",
    "trainer.accelerator",
    "report.grad_cam",
    "report.num_pictures",
)
"""The settings that `evaluate` uses; all others would change nothing and are refused."""


def read_given(overrides: tuple[OverrideLike, ...]) -> Overrides | None:
    """The settings that were given; None without any, which needs no pydantic."""
    if not any(overrides):
        return None
    from classifier_training.config.arguments import read_overrides

    return read_overrides(*overrides)


def check_used(given: Overrides | None, model: Path, photos: str | os.PathLike[str] | None) -> None:
    """Refuses settings that scoring does not use, and warns of those that do nothing for an ONNX file.

    Raises:
        ConfigError: There are such settings, or the photos are named twice.
    """
    if given is None:
        return
    unused = [f"{one.key}={one.shown}" for one in given.settings if one.key not in SCORING_SETTINGS]
    if unused:
        raise ConfigError(
            f"evaluate does not use {', '.join(unused)}: the model is already trained, and its scores are computed in"
            f" float32 as the deployed file answers; settings that it uses: {', '.join(SCORING_SETTINGS)}"
        )
    if photos is not None and given.last("data.root") is not None:
        raise ConfigError("the photos are given twice, by their path and as data.root; leave one of them out")
    if model.suffix not in DEPLOYED_SUFFIXES:
        return
    does_nothing = {"data.num_workers": (None, 0), "trainer.accelerator": ("auto", "cpu"), "report.grad_cam": (False,)}
    idle = [
        f"{one.key}={one.shown}" for one in given.settings if one.value not in does_nothing.get(one.key, (one.value,))
    ]
    if idle:
        message = f"{model} is scored in this process on the CPU, without Grad-CAM: {', '.join(idle)} has no effect"
        warnings.warn(message, stacklevel=3)


def scoring_settings(run: RunFolder | None, overrides: Overrides | None, *, is_onnx: bool) -> Config | None:
    """The run's configuration with the overrides; None where an ONNX file is scored without overrides."""
    if is_onnx and not overrides:
        return None
    from classifier_training.config import load_config

    settings = load_config(overrides or (), file=None if run is None else run.config)
    if settings.data.batch_size == "auto":  # for a training it is measured; scores do not depend on it
        size = type(settings.data).model_fields["batch_size"].default
        settings = settings.model_copy(update={"data": settings.data.model_copy(update={"batch_size": size})})
    is_given = overrides is not None and overrides.last("trainer.accelerator") is not None
    if is_given or settings.trainer.accelerator == "cpu":
        return settings
    # the run's GPU was that of another machine perhaps: the fastest device of this one is taken
    return settings.model_copy(update={"trainer": settings.trainer.model_copy(update={"accelerator": "auto"})})


def given_root(overrides: Overrides | None) -> str | None:
    """``data.root``, if it is among the settings that were given."""
    given = overrides.last("data.root") if overrides else None
    return None if given is None or given.value is None else str(given.value)


def given_limit(overrides: Overrides | None) -> int | None:
    """``data.max_image_pixels``, if it is among the settings that were given."""
    given = overrides.last("data.max_image_pixels") if overrides else None
    return given.value if given is not None and isinstance(given.value, int) else None
