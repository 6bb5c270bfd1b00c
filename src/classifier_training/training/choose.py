"""What ``model=auto`` and ``recipe=auto`` stand for: by the photos, the device, the time and the weights to be had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from classifier_training.config.contradictions import RECIPES_WITH_WEIGHTS
from classifier_training.config.preset_groups import backbone_presets
from classifier_training.config.schema import Config
from classifier_training.config.training import load_training
from classifier_training.data.photos import Photos
from classifier_training.errors import ModelError
from classifier_training.models.recognise import recognise_backbone
from classifier_training.models.starting_weights import StartingWeights, find_weights
from classifier_training.run.cpus import cpu_limit_here
from classifier_training.terminal.terminal import duration
from classifier_training.training.weights import decide_weights

AUTO: Final = "auto"
SMALL_SIDE: Final = 64
"""Median shorter side in pixels below which images are trained from scratch: they lack what weights were trained on."""
USUAL_EPOCHS: Final = 12
FEWEST_EPOCHS: Final = 3
MOST_CPUS: Final = 16
"""More than these make a training step hardly faster."""
USUAL_SECONDS: Final = {"cpu": 480.0, "mps": 3600.0, "cuda": 86400.0}
"""What a training without a time limit may take before a cheaper backbone is chosen."""
LONG_SECONDS: Final = 3600.0
MPS_FACTOR: Final = 6.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A preset with what an epoch of it costs; the figures are rough, and their order is what matters.

    Attributes:
        preset: Its name.
        image_size: Its size in pixels.
        cpu_seconds: Of one core, for an image and epoch.
        gpu_seconds: Of one GPU.
        reason: Why it is chosen.
        min_side: The median shorter side of the images below which the size brings nothing.
        min_images: Training images below which it is too large to train from scratch.
    """

    preset: str
    image_size: int
    cpu_seconds: float
    gpu_seconds: float
    reason: str
    min_side: int = 0
    min_images: int = 0


LITE0: Final = Candidate("tf_efficientnet_lite0", 224, 0.07, 0.0006, "made for CPUs, the quickest with good weights")
LITE0_SMALL: Final = Candidate("tf_efficientnet_lite0", 160, 0.038, 0.0004, "smaller images, as there is little time")
FROM_WEIGHTS: Final = (
    Candidate("convnext_tiny", 224, 1.2, 0.0013, "the most accurate preset that a GPU trains in minutes"),
    Candidate("tf_efficientnet_lite2", 260, 0.17, 0.0012, "the most accurate of the Lite models", 200),
    Candidate("tf_efficientnet_lite1", 240, 0.12, 0.0009, "the most accurate Lite model for the time", 180),
    LITE0,
)
"""The best first."""
FROM_SCRATCH: Final = (
    Candidate("resnet50", 224, 0.45, 0.0012, "many images from scratch", min_images=10_000),
    Candidate("resnet18", 224, 0.12, 0.0004, "small and forgiving from scratch"),
    Candidate("resnet10t", 128, 0.03, 0.0002, "the quickest from scratch"),
)
SMALL_IMAGES: Final = {
    "cpu": Candidate("resnet10t", 64, 0.01, 0.0001, "small images, which a small backbone learns from scratch"),
    "gpu": Candidate("resnet18", 64, 0.02, 0.0001, "small images, which a small backbone learns from scratch"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a choice depends on.

    Attributes:
        num_images: Training images.
        side: Their median shorter side in pixels.
        accelerator: ``cpu``, ``cuda`` or ``mps``.
        num_devices: Devices of all machines.
        num_cpus: CPUs of this process.
        seconds: The time limit; None: none.
    """

    num_images: int
    side: int
    accelerator: str
    num_devices: int = 1
    num_cpus: int = 1
    seconds: float | None = None

    @property
    def is_small(self) -> bool:
        """Whether the images are too small for pretrained weights."""
        return self.side < SMALL_SIDE

    @property
    def budget(self) -> float:
        """Seconds that the training may take."""
        return USUAL_SECONDS[self.accelerator] if self.seconds is None else self.seconds

    def epochs_seconds(self, candidate: Candidate, epochs: int = USUAL_EPOCHS) -> float:
        """About how long these epochs take."""
        if self.accelerator == "cpu":
            each = candidate.cpu_seconds / min(self.num_cpus, MOST_CPUS)
        else:
            each = candidate.gpu_seconds * (MPS_FACTOR if self.accelerator == "mps" else 1) / self.num_devices
        return each * self.num_images * epochs

    def describe(self) -> str:
        """Images, device and time, for a message."""
        limit = "" if self.seconds is None else f", {duration(self.seconds)}"
        devices = f"{self.num_devices} × {self.accelerator}" if self.num_devices > 1 else self.accelerator
        return f"{self.num_images:,} images of about {self.side} px, {devices}{limit}"


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
    return Facts(len(rows), side, accelerator, num_devices, cpu_limit_here().count, config.trainer.time_limit_seconds)


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
        settings["recipe"], why = _choose_recipe(str(settings.get("model", config.model.name)), facts, weights)
        why = why_scratch or why
        reasons["recipe=auto"] = f"{settings['recipe']}: {why}"
    return Choice(weights, settings, reasons)


def _choose_recipe(model: str, facts: Facts, weights: StartingWeights) -> tuple[str, str]:
    if not weights:
        return "scratch", "there are no weights to start from"
    known = next((one for one in FROM_WEIGHTS if one.preset == model), None)
    if facts.seconds is not None and known and facts.epochs_seconds(known, 1) > facts.seconds:
        return "probe", f"{duration(facts.seconds)} are less than an epoch takes"
    return "finetune", "there are weights to start from"


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
    return _from_scratch(facts), missing


def _from_weights(facts: Facts) -> Iterator[Candidate]:
    """What may be trained from weights, the best first; at last whatever has weights on this disk."""
    fitting = [one for one in FROM_WEIGHTS if facts.side >= one.min_side and facts.epochs_seconds(one) <= facts.budget]
    is_long = facts.epochs_seconds(LITE0, FEWEST_EPOCHS) > facts.budget
    if facts.seconds is None:
        is_long = facts.epochs_seconds(LITE0) > max(facts.budget, LONG_SECONDS)
    yield from fitting or [LITE0_SMALL if is_long else LITE0]
    tried = {one.preset for one in fitting} | {LITE0.preset}
    for name in ("mobilenetv3_large_100", "resnet18", "efficientnet_b0", "resnet50", "convnext_tiny", "resnet10t"):
        if name not in tried:
            yield Candidate(name, 224, 0.1, 0.001, "the only preset with weights on this disk")


def _from_scratch(facts: Facts) -> Candidate:
    if facts.is_small:
        return SMALL_IMAGES["cpu" if facts.accelerator == "cpu" else "gpu"]
    suitable = [one for one in FROM_SCRATCH if facts.num_images >= one.min_images]
    return next((one for one in suitable if facts.epochs_seconds(one) <= facts.budget), suitable[-1])


def _settings_of(candidate: Candidate, facts: Facts) -> dict[str, Any]:
    """The preset of a candidate, and the size where it is not the preset's own."""
    settings: dict[str, Any] = {"model": candidate.preset}
    if candidate in SMALL_IMAGES.values():
        side = 32 if facts.side <= 32 else SMALL_SIDE
        return settings | {"data.image_size": side, "data.crop_pct": 1.0}
    if candidate in (LITE0_SMALL, FROM_SCRATCH[-1]):
        settings["data.image_size"] = candidate.image_size
    return settings
