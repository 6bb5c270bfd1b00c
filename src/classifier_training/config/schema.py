"""What a configuration may hold: every setting with its type, range, default and meaning.

The defaults are defined here and nowhere else; a preset overrides them. ``null`` on a setting that says *automatic* is
resolved before training starts, so that the run's ``config.yaml`` holds the value that was used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ByteSize, Field, TypeAdapter

from classifier_training.config.section import (
    ByteCount,
    Colour,
    Fraction,
    NonEmptyText,
    NonNegativeFloat,
    NonNegativeInt,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    Section,
)
from classifier_training.types import OPSET_VERSIONS, Decoding, Exporter, OnBadImage, OnGroupOverlap

_OPSETS = sorted({version for versions in OPSET_VERSIONS.values() for version in versions})
_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "gray": (128, 128, 128)}


class RunConfig(Section):
    """Where the run is written."""

    dir: str = Field("runs", min_length=1, description="folder that holds the runs")
    name: NonEmptyText | None = Field(None, description="name of the run's folder; null: <date>-<time>-<model>")


class DataConfig(Section):
    """The photos, how they are split, read, balanced and augmented."""

    root: NonEmptyText | None = Field(
        None, description="folder of photos, table file (csv, jsonl, parquet), or tar shards; local or an address"
    )
    batch_size: PositiveInt = Field(32, description="images per step and device")
    image_size: PositiveInt | None = Field(None, description="input side in pixels; null: the backbone's own")
    crop_pct: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None, description="share of the resized side that the evaluation crop keeps; null: the backbone's own"
    )
    num_workers: NonNegativeInt | None = Field(
        None, description="loader processes of each device; null: by the CPUs that may be used, 8 at most"
    )
    val_fraction: OpenFraction = Field(0.15, description="share of photos for validation where no split is given")
    test_fraction: OpenFraction = Field(0.15, description="share of photos for the test where no split is given")
    balance: Literal["none", "sampler", "loss_weights", "logit_adjustment"] = Field(
        "none", description="correction of class imbalance, exactly one"
    )
    balance_weighting: Literal["inverse", "inverse_sqrt", "effective_number", "manual"] = Field(
        "inverse", description="how class weights follow from class counts (sampler, loss_weights)"
    )
    balance_beta: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.999, description="beta of the effective number of samples (Cui et al. 2019)"
    )
    class_weights: dict[str, NonNegativeFloat] | None = Field(
        None, description="weight of each class by name, for balance_weighting=manual"
    )
    on_bad_image: OnBadImage = Field(
        "raise", description="a file that is not an image: stop, or leave it out and list it"
    )
    on_missing_label: OnBadImage = Field(
        "raise", description="an image whose label is missing or empty: stop, or leave it out and count it"
    )
    max_bad_fraction: Fraction = Field(
        0.5, description="share of files that on_bad_image=skip may leave out; with more of them the run stops"
    )
    max_image_pixels: PositiveInt = Field(
        178_956_970, description="an image with more pixels is refused, as it could exhaust the memory"
    )
    background: Colour | None = Field(
        None, description="colour that transparent images are composed on; null: the colour under the transparency"
    )
    integer_range: Annotated[tuple[float, float], Field(strict=False)] | None = Field(
        None,
        description="values that are black and white in grey images of more than 8 bits, such as [0, 4095]; null: the"
        " range of their number of bits",
    )
    cache: Literal["auto", "none", "memory", "disk"] = Field(
        "auto", description="where decoded images are kept for the next epochs and runs; never changes the result"
    )
    cache_size: PositiveInt | Literal["original"] | None = Field(
        None,
        description="shorter side, pixels, that training images are reduced to before the random crop; null: 8/7 of"
        " image_size, 256 for 224; original: not reduced, and no training image is kept",
    )
    cache_dir: NonEmptyText | None = Field(
        None, description="folder of cached images and indices; null: the user's cache folder"
    )
    cache_limit: ByteCount | None = Field(
        None, description="most that all cached images may take; null: by free disk and memory"
    )
    copies_limit: ByteCount | None = Field(
        None,
        description="most that indices, copies of remote files and unpacked Parquet files may take in the cache folder;"
        " those not used for longest are removed; null: half of the free space",
    )
    image_column: str = Field("image", min_length=1, description="column of a table with the image's path")
    label_column: str = Field("label", min_length=1, description="column of a table with the class name")
    split_column: str = Field("split", min_length=1, description="optional column of a table with the split")
    group_column: NonEmptyText | None = Field(
        None, description="column of a table with what must stay in one split together, such as a patient"
    )
    on_group_overlap: OnGroupOverlap = Field(
        "raise", description="a group that a source with given splits has in two of them: stop, or only warn"
    )
    weight_column: NonEmptyText | None = Field(
        None, description="column of a table with sampling weights; training then draws with replacement by them"
    )
    train_scale: tuple[Annotated[float, Field(gt=0.0, le=1.0)], Annotated[float, Field(gt=0.0, le=1.0)]] = Field(
        (0.35, 1.0), strict=False, description="area range of the random resized crop"
    )
    train_ratio: tuple[PositiveFloat, PositiveFloat] = Field(
        (0.75, 4 / 3), strict=False, description="aspect ratio range of the random resized crop"
    )
    hflip: Fraction = Field(0.5, description="probability of a horizontal flip in training")
    vflip: Fraction = Field(0.0, description="probability of a vertical flip in training")
    auto_augment: Literal["none", "randaugment", "trivialaugment"] = Field(
        "none", description="automatic augmentation policy in training"
    )
    color_jitter: Fraction = Field(0.2, description="strength of brightness, contrast and saturation jitter")
    random_erasing: Fraction = Field(0.0, description="probability of random erasing in training")

    @property
    def decoding(self) -> Decoding:
        """How images are decoded."""
        colour = self.background
        if isinstance(colour, str):
            colour = _COLOURS.get(colour) or (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))
        return Decoding(self.max_image_pixels, colour, self.integer_range)

    @property
    def copies_bytes(self) -> int | None:
        """``copies_limit`` in bytes; None: it is chosen."""
        return None if self.copies_limit is None else int(TypeAdapter(ByteSize).validate_python(self.copies_limit))

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Fractions that leave nothing, ranges that fall, weights that nobody uses."""
        if self.val_fraction + self.test_fraction >= 1:
            yield ("val_fraction", "test_fraction"), "leave no photo for training; their sum must be below 1"
        if self.integer_range is not None and self.integer_range[0] >= self.integer_range[1]:
            yield ("integer_range",), "must rise, as [black, white]"
        for name in ("train_scale", "train_ratio"):
            low, high = getattr(self, name)
            if low > high:
                yield (name,), "must rise, as [smallest, largest]"
        manual = self.balance_weighting == "manual"
        if self.class_weights is not None and not manual:
            yield ("class_weights", "balance_weighting"), "weights by class need balance_weighting=manual"
        if self.class_weights is None and manual:
            yield ("balance_weighting", "class_weights"), "manual weighting needs class_weights={class: weight, …}"
        if manual and self.balance not in {"sampler", "loss_weights"}:
            yield ("balance_weighting", "balance"), "manual weights are used by balance=sampler or loss_weights only"


class ModelConfig(Section):
    """The backbone and how much of it is trained when."""

    name: str = Field("resnet18", min_length=1, description="any timm model name")
    pretrained: bool = Field(False, description="start from timm's pretrained weights (downloads them once)")
    weights: NonEmptyText | None = Field(
        None, description="start from this file (safetensors or weights-only torch file)"
    )
    drop_rate: OpenFraction = Field(0.0, description="dropout before the head")
    drop_path_rate: OpenFraction | None = Field(None, description="stochastic depth; null: the backbone's own")
    freeze_epochs: NonNegativeInt | None = Field(
        None, description="epochs that train the head alone; null: 0 from scratch, else a quarter of the epochs"
    )
    freeze_norm_stats: bool | None = Field(
        None, description="keep the backbone's BatchNorm statistics; null: yes when it starts from weights"
    )
    channels_last: bool = Field(True, description="memory format that convolutions are fastest in")
    compile: bool = Field(False, description="compile the backbone with torch.compile")

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Two sources of weights."""
        if self.pretrained and self.weights is not None:
            yield ("pretrained", "weights"), "two sources of weights; give one of them"


class LossConfig(Section):
    """The training loss."""

    name: Literal["cross_entropy", "focal", "bce"] = Field("cross_entropy", description="loss function")
    label_smoothing: OpenFraction = Field(0.1, description="probability mass spread over all classes")
    focal_gamma: NonNegativeFloat = Field(2.0, description="focusing exponent of the focal loss")


class OptimizerConfig(Section):
    """The optimizer; weight decay never touches norms and biases."""

    name: Literal["adamw", "sgd"] = Field("adamw", description="optimizer")
    lr: PositiveFloat = Field(1e-3, description="peak learning rate of the head (and of the backbone, scaled)")
    backbone_lr_scale: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None, description="the backbone's share of lr; null: 0.1 when it starts from weights, else 1"
    )
    weight_decay: NonNegativeFloat = Field(0.05, description="weight decay of weights, not of norms and biases")
    momentum: OpenFraction = Field(0.9, description="momentum (sgd) or beta1 (adamw)")


class SchedulerConfig(Section):
    """Linear warm-up, then cosine, stepped once per optimizer step."""

    name: Literal["cosine", "constant"] = Field("cosine", description="shape after the warm-up")
    warmup_epochs: NonNegativeFloat | None = Field(
        None, description="length of the linear warm-up, epochs; null: 1, or half of a training of one epoch"
    )
    min_lr_ratio: Fraction = Field(0.01, description="last learning rate as a share of the peak")


class TrainerConfig(Section):
    """How long, on what, and how precisely."""

    max_epochs: PositiveInt = Field(20, description="epochs to train")
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
    gradient_clip_val: NonNegativeFloat | None = Field(1.0, description="maximal gradient norm; null: no clipping")
    deterministic: bool = Field(
        True, description="the same seed gives the same bits; on a GPU with slower kernels, attention's above all"
    )
    early_stopping_patience: PositiveInt | None = Field(
        None, description="stop after this many epochs without a better monitored metric; null: never"
    )


class EMAConfig(Section):
    """The exponential moving average of the weights, which is what gets scored, saved and exported."""

    enabled: bool = Field(True, description="keep an average of the weights")
    decay: OpenFraction = Field(0.9999, description="upper bound of the decay")
    warmup_steps: NonNegativeInt = Field(0, description="optimizer steps during which the average follows")


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

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether a lower or a higher monitored metric is better."""
        return "min" if self.monitor == "val/loss" else "max"


class ExportConfig(Section):
    """The ONNX file."""

    enabled: bool = Field(True, description="export and verify the best weights after training")
    exporter: Exporter = Field("torchscript", description="PyTorch's exporter")
    opset_version: Annotated[int, Field(ge=_OPSETS[0], le=_OPSETS[-1])] = Field(18, description="ONNX operator set")
    tolerance: PositiveFloat = Field(1e-3, description="largest allowed difference of a logit")

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Operator sets that an exporter does not write."""
        opsets = OPSET_VERSIONS[self.exporter]
        if self.opset_version not in opsets:
            reason = f"the {self.exporter} exporter writes operator sets {opsets[0]} to {opsets[-1]}"
            yield ("opset_version", "exporter"), reason


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


class Config(Section):
    """The whole configuration of a run."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(0, description="seed of everything random")
    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    trainer: TrainerConfig = TrainerConfig()
    ema: EMAConfig = EMAConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    export: ExportConfig = ExportConfig()
    report: ReportConfig = ReportConfig()
    tracking: TrackingConfig = TrackingConfig()
