"""The backbones among which ``model=auto`` chooses, what an epoch of each costs, and the facts on which it depends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from classifier_training.config import load_config
from classifier_training.terminal.terminal import duration

SMALL_SIDE: Final = 64
"""Median shorter side in pixels below which images are trained from scratch: they lack what weights were trained on."""
MANY_IMAGES: Final = 10_000
"""From which on a training from scratch has recipes of its own."""
MANY_EPOCHS: Final = 50
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
    Candidate("resnet50", 224, 0.45, 0.0012, "many images from scratch", min_images=MANY_IMAGES),
    Candidate("resnet18", 224, 0.12, 0.0004, "small and forgiving from scratch"),
    Candidate("resnet10t", 128, 0.03, 0.0002, "the quickest from scratch"),
)
SMALL_IMAGES: Final = {
    "cpu": Candidate("resnet10t", 64, 0.01, 0.0001, "small images, which a small backbone learns from scratch"),
    "gpu": Candidate("resnet18", 64, 0.02, 0.0001, "small images, which a small backbone learns from scratch"),
}
LIKE_CIFAR: Final = Candidate("resnet18", 128, 0.02, 0.0001, "small images, enlarged, for a ResNet of small images")


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
        epochs: As they are set; None: those of the recipe.
    """

    num_images: int
    side: int
    accelerator: str
    num_devices: int = 1
    num_cpus: int = 1
    seconds: float | None = None
    epochs: int | None = None

    @property
    def is_small(self) -> bool:
        """Whether the images are too small for pretrained weights."""
        return self.side < SMALL_SIDE

    @property
    def is_like_cifar(self) -> bool:
        """Whether they are many small images, and there is a GPU."""
        return self.side <= SMALL_SIDE and self.num_images >= MANY_IMAGES and self.accelerator != "cpu"

    @property
    def budget(self) -> float:
        """Seconds that the training may take."""
        return USUAL_SECONDS[self.accelerator] if self.seconds is None else self.seconds

    def seconds_of(self, candidate: Candidate, recipe: str) -> float:
        """About how long a training by a recipe takes."""
        return self.epochs_seconds(candidate, self.epochs or epochs_of_recipe(recipe))

    def epochs_seconds(self, candidate: Candidate, epochs: int) -> float:
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


def epochs_of_recipe(recipe: str) -> int:
    """The epochs of a recipe's preset."""
    return load_config([f"recipe={recipe}"]).trainer.num_epochs
