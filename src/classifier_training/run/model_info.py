"""``model_info.json``: how large and how fast the model of a run is."""

from __future__ import annotations

from dataclasses import dataclass

from classifier_training.run.records import FORMAT, Count, Format, Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long the model takes for one image.

    Attributes:
        device: Where it was measured.
        batch_size: Images at a time.
        min_ms: The shortest of all measurements, milliseconds; None in files of early versions.
        median_ms: Milliseconds.
        p95_ms: 95 of 100 took less, milliseconds.
        repeats: Number of measurements.
    """

    device: str
    batch_size: Count
    min_ms: Number | None = None
    median_ms: Number
    p95_ms: Number
    repeats: Count

    @property
    def shortest_ms(self) -> float:
        """What other programs of the machine disturb least, milliseconds."""
        return self.median_ms if self.min_ms is None else self.min_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """How large and how fast a model is.

    Attributes:
        format: Version of the file.
        model: Its name.
        input: Channels, height and width; None where they are not known.
        num_parameters: All parameters.
        num_trainable_parameters: Those that are trained.
        freeze_epochs: Epochs in which only the head is trained; None: none.
        num_trainable_parameters_while_frozen: Those that are trained in these epochs.
        size_bytes: Size of all weights.
        flops: For one image, two for each multiply-add; None where they are not known.
        latency: None where it was not measured.
    """

    format: Format = FORMAT
    model: str
    input: tuple[Count, ...] | None
    num_parameters: Count
    num_trainable_parameters: Count
    freeze_epochs: Count | None = None
    num_trainable_parameters_while_frozen: Count | None = None
    size_bytes: Count
    flops: Number | None
    latency: Latency | None
