"""Settings of what a run gives besides its weights: the export, the report, the trackers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from classifier_training.config.section import (
    NonEmptyText,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Section,
)
from classifier_training.types import OPSET_VERSIONS, Exporter

Share = Annotated[float, Field(gt=0.0, le=1.0)]
OpenShare = Annotated[float, Field(gt=0.0, lt=1.0)]
_OPSETS = sorted({version for versions in OPSET_VERSIONS.values() for version in versions})


class ExportConfig(Section):
    """The ONNX file."""

    enabled: bool = Field(True, description="export and verify the best weights after training")
    exporter: Exporter = Field("torchscript", description="PyTorch's exporter")
    opset_version: Annotated[int, Field(ge=_OPSETS[0], le=_OPSETS[-1])] = Field(18, description="ONNX operator set")
    tolerance: PositiveFloat = Field(1e-3, description="largest allowed difference of a logit")
    verification_images: PositiveInt = Field(
        256, description="validation images, from all over the split, that an exported file is proven on; fewer: all"
    )
    max_points_lost: Annotated[float, Field(ge=0, le=100)] = Field(
        1.0, description="largest allowed loss of top-1 accuracy, in points, of a form of fewer bits than float32"
    )
    significance: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="p-value of McNemar's test below which a form of fewer bits counts as less accurate"
    )
    self_test_images: Annotated[int, Field(ge=0, le=10)] = Field(
        3, description="small validation images in the ONNX file, for its self-test; 0: none"
    )
    calibration_images: PositiveInt = Field(
        200, description="training images that calibrate the form int8, the same number of each class where possible"
    )
    min_speedup: NonNegativeFloat = Field(
        1.1, description="int8 is written only if it is so many times as fast as float32 on this CPU; 0: in any case"
    )

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Operator sets that an exporter does not write."""
        opsets = OPSET_VERSIONS[self.exporter]
        if self.opset_version not in opsets:
            reason = f"the {self.exporter} exporter writes operator sets {opsets[0]} to {opsets[-1]}"
            yield ("opset_version", "exporter"), reason


class CalibrationConfig(Section):
    """What the finished model knows of its own answers."""

    temperature: bool = Field(
        True,
        description="after training, fit a temperature to the validation images: confidences then fit the accuracy",
    )
    unknown: bool = Field(
        True,
        description="after training, choose and fit a score of how unlike the training images an image is",
    )
    known_share: OpenShare = Field(
        0.95, description="share of the validation images that count as known; those of higher scores count as unknown"
    )


class DecisionConfig(Section):
    """What the finished model decides from its probabilities, by thresholds fitted to the validation images."""

    target_precision: Share | None = Field(
        None, description="abstain below the confidence at which this share of the answers is correct; null: no target"
    )
    target_coverage: Share | None = Field(
        None, description="abstain below the confidence that this share of the images reaches; null: no target"
    )
    set_coverage: OpenShare | None = Field(
        0.95, description="prediction sets that hold the true class in this share of the cases; null: no sets"
    )

    @property
    def is_given(self) -> bool:
        """Whether a threshold to abstain is asked for."""
        return self.target_precision is not None or self.target_coverage is not None

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Two targets for one threshold."""
        if self.target_precision is not None and self.target_coverage is not None:
            yield (
                ("target_precision", "target_coverage"),
                "one threshold cannot have both targets; leave one of them out",
            )


class ReportConfig(Section):
    """What is shown of a run, during and after the training."""

    enabled: bool = Field(True, description="write report.html, the figures and the prediction of each image")
    max_repeats: PositiveFloat = Field(
        10.0, description="warn when the sampler repeats each image of a class more often than this in an epoch"
    )
    num_pictures: NonNegativeInt = Field(24, description="worst errors and least certain images that are shown")
    grad_cam: bool = Field(True, description="show which parts of the worst errors the model reacted to (Grad-CAM)")


class TrackingConfig(Section):
    """Where metrics, settings, figures and the model go besides the run folder."""

    tensorboard: bool | Literal["auto"] = Field("auto", description="TensorBoard; auto: where it is installed")
    wandb: bool = Field(False, description="Weights & Biases; needs the extra wandb")
    wandb_mode: Literal["online", "offline"] = Field("online", description="send at once, or keep for `wandb sync`")
    mlflow: bool = Field(False, description="MLflow; needs the extra mlflow")
    mlflow_uri: NonEmptyText | None = Field(
        None, description="MLflow's tracking URI; null: MLFLOW_TRACKING_URI, else sqlite:///<run.dir>/mlflow.db"
    )
    project: str = Field(
        "classifier-training", min_length=1, description="project (Weights & Biases), experiment (MLflow)"
    )
    timeout_seconds: PositiveFloat = Field(
        120.0, description="a tracker that takes longer to start, for an epoch or for the model gets nothing more"
    )
