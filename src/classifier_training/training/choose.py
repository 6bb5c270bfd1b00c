"""What ``model=auto`` and ``recipe=auto`` stand for: by the photos, the device, the time and the weights to be had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classifier_training.config.compose import AUTO
from classifier_training.config.contradictions import RECIPES_WITH_WEIGHTS
from classifier_training.config.preset_groups import backbone_presets
from classifier_training.config.schema import Config
from classifier_training.config.training import OPEN_TO, load_training
from classifier_training.data.photos import Photos
from classifier_training.errors import ModelError
from classifier_training.models.recognise import recognise_backbone
from classifier_training.models.starting_weights import StartingWeights, find_weights
from classifier_training.run.cpus import cpu_limit_here
from classifier_training.terminal.terminal import duration
from classifier_training.training.candidates import (
    FEWEST_EPOCHS,
    FROM_SCRATCH,
    FROM_WEIGHTS,
    LIKE_CIFAR,
    LITE0,
    LITE0_SMALL,
    LONG_SECONDS,
    MANY_EPOCHS,
    MANY_IMAGES,
    SMALL_IMAGES,
    SMALL_SIDE,
    Candidate,
    Facts,
)
from classifier_training.training.weights import decide_weights


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        weights: What the backbone starts from.
        settings: Presets by group, and settings, that win over the defaults alone.
        reasons: For the plan: what was automatic, and why it became this.
    """

    weights: StartingWeights
    settings: Mapping[str, Any]
    reasons: Mapping[str, str]


def is_open(config: Config) -> bool:
    """Whether the start depends on the photos: the backbone, or whether weights are wanted, is left open."""
    if config.model.name == AUTO:
        return True
    is_asked_for = config.model.pretrained != AUTO or config.model.weights is not None
    return config.recipe.name == AUTO and not is_asked_for


def completed(config: Config, chosen: Mapping[str, object]) -> Config:
    """A configuration with what was chosen for what it leaves open; what is set in it stays.

    Raises:
        ConfigError: It could not be trained with that.
    """
    return load_training(config.model_dump(mode="json", exclude_unset=True), chosen=chosen)[0]


def facts_of(config: Config, photos: Photos, accelerator: str, num_devices: int) -> Facts:
    """What is known of a training before its backbone is."""
    rows, index = photos.rows["train"], photos.index
    side = int(np.median(np.minimum(index.widths[rows], index.heights[rows])))
    trainer, epochs = config.trainer, config.trainer.max_epochs
    if epochs is None and trainer.time_limit is None and "default_epochs" in trainer.model_fields_set:
        epochs = trainer.default_epochs
    return Facts(len(rows), side, accelerator, num_devices, cpu_limit_here().count, trainer.time_limit_seconds, epochs)


def choose(config: Config, facts: Facts, weights: StartingWeights | None = None) -> Choice:
    """Chooses the backbone, the weights and the recipe, as far as they are left open.

    Args:
        config: Of the training.
        facts: See `facts_of`.
        weights: Those of a named backbone, where they are decided already.

    Raises:
        ModelError: Weights are asked for, and there are none.
    """
    wants, why_scratch = _wants_weights(config, facts)
    settings: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    candidate: Candidate | None = None
    if config.model.name != AUTO:
        if weights is None:
            weights = decide_weights(config) if wants else StartingWeights("none", "", why_scratch)
    elif config.model.weights is not None:
        weights = decide_weights(config)
        names = backbone_presets()
        settings["model.name"] = recognise_backbone(Path(config.model.weights).expanduser(), names)
        if settings["model.name"] in names:
            settings["model"] = settings["model.name"]
        reasons["model=auto"] = f"{settings['model.name']}, the backbone of model.weights"
    else:
        candidate, weights = _choose_backbone(config, facts, wants=wants)
        settings |= _settings_of(candidate, facts)
        size = config.data.image_size or settings.get("data.image_size", candidate.image_size)
        start = weights.name or "from random weights"
        reasons["model=auto"] = f"{candidate.preset} at {size} px: {facts.describe()}, {start}; {candidate.reason}"
    if config.recipe.name == AUTO:
        known = None if weights else candidate
        known = known or _known(str(settings.get("model", config.model.name)))
        settings["recipe"], why = _choose_recipe(known, facts, weights, why_scratch)
        name = OPEN_TO.get(settings["recipe"], settings["recipe"])
        if name != settings["recipe"]:
            settings["recipe.name"] = name
        reasons["recipe=auto"] = f"{settings['recipe']}: {why}"
    return Choice(weights, settings, reasons)


def _choose_recipe(
    backbone: Candidate | None, facts: Facts, weights: StartingWeights, why_scratch: str
) -> tuple[str, str]:
    """The recipe and the reason; of a backbone that is not known, how large its input may be is not known either."""
    if weights:
        if facts.seconds is not None and backbone and facts.epochs_seconds(backbone, 1) > facts.seconds:
            return "probe", f"{duration(facts.seconds)} are less than an epoch takes"
        return "finetune", "there are weights to start from"
    why = why_scratch or "there are no weights to start from"
    if backbone is LIKE_CIFAR:
        return "scratch_32px", f"{why}; {facts.num_images:,} small images and a GPU"
    if backbone is None or facts.num_images < MANY_IMAGES:
        return "scratch", why
    if facts.epochs is not None and facts.epochs >= MANY_EPOCHS:
        return "scratch_long", f"{why}; {facts.num_images:,} images and {facts.epochs} epochs"
    if facts.epochs is None and facts.seconds and facts.epochs_seconds(backbone, MANY_EPOCHS) <= facts.seconds:
        return "scratch_long", f"{why}; {facts.num_images:,} images and time for {MANY_EPOCHS} epochs or more"
    return "scratch", why


def _known(model: str) -> Candidate | None:
    """The preset with its costs; None: there are none of it, or it takes images of one size alone."""
    return next((one for one in (*FROM_WEIGHTS, *FROM_SCRATCH) if one.preset == model), None)


def _wants_weights(config: Config, facts: Facts) -> tuple[bool, str]:
    """Whether weights are wanted where there are any, and why not."""
    model, recipe = config.model, config.recipe.name
    if model.weights is not None or model.pretrained is True or recipe in RECIPES_WITH_WEIGHTS:
        return True, ""
    if model.pretrained is False:
        return False, "model.pretrained=false"
    if recipe == "scratch":
        return False, "recipe=scratch"
    is_small = facts.is_small
    return not is_small, f"the images are of about {facts.side} px, too small for pretrained weights" * is_small


def _choose_backbone(config: Config, facts: Facts, *, wants: bool) -> tuple[Candidate, StartingWeights]:
    is_missing_fatal = config.model.pretrained is True or config.recipe.name in RECIPES_WITH_WEIGHTS
    missing = StartingWeights("none", "", "")
    if wants:
        ask_network = True
        for candidate in _from_weights(facts):
            weights = find_weights(candidate.preset, pretrained="auto", ask_network=ask_network)
            if weights:
                return candidate, weights
            missing = weights if ask_network else missing
            ask_network = False  # a hub that does not answer once is not asked again
        if is_missing_fatal:
            by = "model.pretrained=true" if config.model.pretrained is True else f"recipe={config.recipe.name}"
            raise ModelError(
                f"{by}: there are no pretrained weights for any of the presets: {missing.reason}; install the extra"
                " weights, go online once (HF_HUB_OFFLINE unset), or give a file with model.weights=FILE"
            )
    return _from_scratch(facts, is_recipe_open=config.recipe.name == AUTO), missing


def _from_weights(facts: Facts) -> Iterator[Candidate]:
    """What may be trained from weights, the best first; at last whatever has weights on this disk."""
    fitting = [
        one for one in FROM_WEIGHTS if facts.side >= one.min_side and facts.seconds_of(one, "finetune") <= facts.budget
    ]
    is_long = facts.epochs_seconds(LITE0, FEWEST_EPOCHS) > facts.budget
    if facts.seconds is None:
        is_long = facts.seconds_of(LITE0, "finetune") > max(facts.budget, LONG_SECONDS)
    yield from fitting or [LITE0_SMALL if is_long else LITE0]
    tried = {one.preset for one in fitting} | {LITE0.preset}
    for name in ("mobilenetv3_large_100", "resnet18", "efficientnet_b0", "resnet50", "convnext_tiny", "resnet10t"):
        if name not in tried:
            yield Candidate(name, 224, 0.1, 0.001, "the only preset with weights on this disk")


def _from_scratch(facts: Facts, *, is_recipe_open: bool) -> Candidate:
    if is_recipe_open and facts.is_like_cifar:
        return LIKE_CIFAR
    if facts.is_small:
        return SMALL_IMAGES["cpu" if facts.accelerator == "cpu" else "gpu"]
    suitable = [one for one in FROM_SCRATCH if facts.num_images >= one.min_images]
    return next((one for one in suitable if facts.seconds_of(one, "scratch") <= facts.budget), suitable[-1])


def _settings_of(candidate: Candidate, facts: Facts) -> dict[str, Any]:
    """The preset of a candidate, and the size where it is not the preset's own."""
    settings: dict[str, Any] = {"model": candidate.preset}
    if candidate is LIKE_CIFAR:  # whose size is that of its recipe
        return settings
    if candidate in SMALL_IMAGES.values():
        side = 32 if facts.side <= 32 else SMALL_SIDE
        return settings | {"data.image_size": side, "data.crop_pct": 1.0}
    if candidate in (LITE0_SMALL, FROM_SCRATCH[-1]):
        settings["data.image_size"] = candidate.image_size
    return settings
