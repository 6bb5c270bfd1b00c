"""What the command ``predict`` was asked to write, and whether that can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classifier_training.errors import CheckpointError, ConfigError
from classifier_training.types import RowsFormat, TestTimeAugmentation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from classifier_training.inference.classifier import Classifier
    from classifier_training.inference.destination import Destination
    from classifier_training.inference.rows import Row, RowFormat
    from classifier_training.inference.sorting import Sorter


@dataclass(frozen=True, slots=True)
class Outputs:
    """The options that name files, folders and formats, as they were typed."""

    output: Path | None = None
    kind: RowsFormat | None = None
    features: Path | None = None
    copy_to: Path | None = None
    move_to: Path | None = None
    overwrite: bool = False

    @property
    def is_printed_for_programs(self) -> bool:
        """Whether standard output is for rows alone."""
        return self.kind is not None and self.output is None

    @property
    def format(self) -> RowsFormat | None:
        """The format of the rows; None: a table on the screen, or nothing."""
        from classifier_training.inference.rows import format_of

        return self.kind or (None if self.output is None else format_of(self.output.suffix))

    @property
    def has_every_class(self) -> bool:
        """Whether rows hold the probability of every class, unless ``--top-k`` is given."""
        return self.format in {"jsonl", "parquet"}

    @property
    def further(self) -> tuple[str, ...]:
        """Outputs of the model that are needed besides the predictions."""
        from classifier_training.inference.session import FEATURES

        return () if self.features is None else (FEATURES,)

    def check(self, *, safe_csv: bool, tta: TestTimeAugmentation) -> None:
        """Refuses what contradicts itself, and what could not be written, before any image is read.

        Raises:
            UserError: An option does not fit the others, or a file exists or cannot be written.
        """
        from classifier_training.files.text import exists, is_folder
        from classifier_training.inference.output import check_features, check_output

        if self.copy_to is not None and self.move_to is not None:
            raise ConfigError("--copy-to and --move-to exclude each other; give one of them")
        for option, folder in (("--copy-to", self.copy_to), ("--move-to", self.move_to)):
            if folder is not None and exists(folder) and not is_folder(folder):
                raise ConfigError(f"{option} {folder}: this is a file; name a folder")
        if self.is_printed_for_programs and (self.features or self.copy_to or self.move_to or self.kind == "parquet"):
            raise ConfigError(f"--format {self.kind} needs a file here; add --output FILE.{self.kind}")
        if self.features is not None and tta != "none":
            raise ConfigError(f"--features are those of one view; leave out --tta {tta}")
        if self.output is not None:
            self._check_output(self.output)
            check_output(self.output, self.kind, overwrite=self.overwrite)
        if self.features is not None:
            check_features(self.features, overwrite=self.overwrite)
        if safe_csv and self.format != "csv":
            raise ConfigError("--safe-csv is for a CSV file; add --output FILE.csv")

    def _check_output(self, output: Path) -> None:
        """Refuses the name of a file that is written anyway."""
        from classifier_training.inference.sorting import LOG_NAMES

        if self.features is not None and output.absolute() == self.features.absolute():
            raise ConfigError(f"--output and --features are both {output}; name two files")
        logs = ((self.copy_to, LOG_NAMES["copy"]), (self.move_to, LOG_NAMES["move"]))
        for folder, log in logs:
            if folder is not None and output.absolute() == (folder / log).absolute():
                raise ConfigError(f"--output {output}: the log of what is sorted has this name; name another file")

    def destination(self, classifier: Classifier) -> Destination:
        """Where the predictions of a model go.

        Raises:
            CheckpointError: The model gives no features, and these are wanted.
        """
        from classifier_training.inference.destination import Destination
        from classifier_training.inference.session import FEATURES

        num_features = classifier.further_outputs.get(FEATURES)
        if self.features is not None and num_features is None:
            raise CheckpointError(
                f"{classifier.path} gives no features: its last layer is not a linear one, or the file is of an older"
                " version; export the run again, or name its checkpoints/best.ckpt"
            )
        return Destination(
            self.output,
            self.format or "csv",
            None if self.features is None else (self.features, num_features or 0),
            self._sorter(),
            self.overwrite,
            _write_parquet,
            _write_features,
        )

    def _sorter(self) -> Sorter | None:
        from classifier_training.inference.sorting import Sorter

        if self.copy_to is not None:
            return Sorter(self.copy_to, "copy")
        return None if self.move_to is None else Sorter(self.move_to, "move")


def _write_parquet(path: Path, rows: Iterator[Row], form: RowFormat) -> None:
    from classifier_training.results.parquet_rows import write_parquet

    kinds = {"abstain": "flag", "unknown": "flag", "unknown_score": "number", "prediction_set": "texts"}
    columns = {name: "number" if name.startswith("probability") else kinds.get(name, "text") for name in form.columns}
    if form.top_k is None:
        columns["probabilities"] = "numbers"
    write_parquet(path, map(form.parquet_cells, rows), columns, form.classes if form.top_k is None else None)


def _write_features(path: Path, rows: Iterator[tuple[str, NDArray[np.float32]]]) -> None:
    from classifier_training.results.parquet_rows import write_features

    write_features(path, rows)
