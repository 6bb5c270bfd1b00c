"""What a configuration may hold: every setting with its type, range, default and meaning.

The defaults are defined here and nowhere else; a preset overrides them. ``null`` on a setting that says *automatic* is
resolved before training starts, so that the run's ``config.yaml`` holds the value that was used.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from classifier_training.config.section import Section
from classifier_training.config.sections.data import DataConfig
from classifier_training.config.sections.distillation import DistillConfig
from classifier_training.config.sections.model import ModelConfig
from classifier_training.config.sections.optimization import EMAConfig, LossConfig
from classifier_training.config.sections.optimizer import OptimizerConfig, SchedulerConfig
from classifier_training.config.sections.outputs import (
    CalibrationConfig,
    DecisionConfig,
    ExportConfig,
    ReportConfig,
    TrackingConfig,
)
from classifier_training.config.sections.recipe import RecipeConfig
from classifier_training.config.sections.trainer import CheckpointConfig, RunConfig, TrainerConfig

__all__ = [
    "CalibrationConfig",
    "CheckpointConfig",
    "Config",
    "DataConfig",
    "DecisionConfig",
    "DistillConfig",
    "EMAConfig",
    "ExportConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "RecipeConfig",
    "ReportConfig",
    "RunConfig",
    "SchedulerConfig",
    "TrackingConfig",
    "TrainerConfig",
]


class Config(Section):
    """The whole configuration of a run."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="seed of everything random")
    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    recipe: RecipeConfig = RecipeConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    distill: DistillConfig = DistillConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    trainer: TrainerConfig = TrainerConfig()
    ema: EMAConfig = EMAConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    decision: DecisionConfig = DecisionConfig()
    export: ExportConfig = ExportConfig()
    report: ReportConfig = ReportConfig()
    tracking: TrackingConfig = TrackingConfig()
