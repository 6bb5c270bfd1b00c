"""Settings of the run folder, of the training loop and of its checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field

from classifier_training.config.section import (
    Duration,
    NonEmptyText,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Section,
    seconds_of,
)


class RunConfig(Section):
    """Where the run is written."""

    dir: str = Field("runs", min_length=1, description="folder that holds the runs")
    name: NonEmptyText | None = Field(None, description="name of the run's folder; null: <date>-<time>-<model>")


class TrainerConfig(Section):
    """How long, on what, and how precisely."""

    max_epochs: PositiveInt | None = Field(
        None, description="epochs to train; null: default_epochs, or with a time limit as many as fit"
    )
    default_epochs: PositiveInt = Field(
        20, description="epochs of a training with neither max_epochs nor a time limit; a recipe may set its own"
    )
    time_limit: PositiveFloat | Duration | None = Field(
        None,
        description="longest time of the whole command, a number of seconds or a text such as 10m: epochs and schedule"
        " are fitted into it, and the scores and the export of the end have their share; null: no limit",
    )
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = Field(
        "auto",
        description="arithmetic; auto: 32-true on a CPU and on Apple's GPUs, bf16-mixed on a GPU that has it in"
        " hardware, 16-mixed on an older one",
    )
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = Field("auto", description="kind of device")
    devices: PositiveInt | Literal["auto"] = Field(
        "auto", description="devices of each machine; auto: all GPUs, or one CPU"
    )
    num_nodes: PositiveInt = Field(1, description="number of machines")
    join_timeout_seconds: PositiveFloat = Field(
        600.0, description="longest wait for the processes of the other devices and machines at the start"
    )
    accumulate_grad_batches: PositiveInt = Field(1, description="batches per optimizer step")
    gradient_clip_val: NonNegativeFloat | None = Field(
        1.0, description="largest norm (or value, or share, see gradient_clip_algorithm) of a gradient; null: any"
    )
    gradient_clip_algorithm: Literal["norm", "value", "agc"] = Field(
        "norm",
        description="what is limited: the norm of all gradients together, each number, or with agc the norm of each"
        " unit's gradient as a share of that of its weights, such as gradient_clip_val=0.02",
    )
    deterministic: bool = Field(
        True, description="the same seed gives the same bits; on a GPU with slower kernels, attention's above all"
    )
    early_stopping_patience: PositiveInt | None = Field(
        None, description="stop after this many epochs without a better monitored metric; null: never"
    )

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """A limit that is none."""
        limit, names = self.gradient_clip_val, ("gradient_clip_val", "gradient_clip_algorithm")
        if self.gradient_clip_algorithm == "agc" and not (limit is not None and 0 < limit < 1):
            yield names, "agc limits a gradient to a share of its weights' norm, above 0 and below 1, such as 0.02"
        elif self.gradient_clip_algorithm != "norm" and limit is None:
            yield names, "no limit to clip at; give one"

    @property
    def num_epochs(self) -> int:
        """Epochs of the training; where the clock ends it, those that the schedule is laid out for."""
        return self.default_epochs if self.max_epochs is None else self.max_epochs

    @property
    def is_ended_by_clock(self) -> bool:
        """Whether the time limit alone ends the training."""
        return self.max_epochs is None and self.time_limit is not None

    @property
    def time_limit_seconds(self) -> float | None:
        """The time limit in seconds."""
        return None if self.time_limit is None else seconds_of(self.time_limit)


NUM_CANDIDATES: Final = 5
"""Best epochs whose weights are candidates for the final ones, unless set."""


class CheckpointConfig(Section):
    """Which weights are kept."""

    monitor: Literal["val/top1", "val/top5", "val/balanced_accuracy", "val/macro_f1", "val/loss"] = Field(
        "val/top1", description="metric that decides which epoch is the best"
    )
    every_n_steps: PositiveInt | None = Field(
        None, description="write last.ckpt every N optimizer steps too; null: after each epoch"
    )
    every_n_minutes: PositiveFloat | None = Field(
        None, description="write last.ckpt after so many minutes too; null: after each epoch"
    )
    keep_last: PositiveInt = Field(
        2, description="checkpoints to resume from that are kept: last.ckpt, last-1.ckpt before it, and so on"
    )

    keep_best: NonNegativeInt | None = Field(
        None,
        description="epochs, the best ones, whose weights are kept as epoch-N.ckpt; null: 5 until the final weights are"
        " chosen, none without that choice",
    )
    choose_final: bool = Field(
        False,
        description="at the end, of the best epochs, the probe that the training began with and averages of their"
        " weights, take those with the lowest validation loss; else the best epoch",
    )

    @property
    def num_best_epochs(self) -> int:
        """Epochs whose weights are kept during the training."""
        return (NUM_CANDIDATES if self.choose_final else 0) if self.keep_best is None else self.keep_best

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether a lower or a higher monitored metric is better."""
        return "min" if self.monitor == "val/loss" else "max"
