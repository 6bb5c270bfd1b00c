"""Where `predict` writes to, and how it goes on after a crash."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import BadImageError
from classifier_training.inference.feature_files import RawFeatures, write_npy
from classifier_training.inference.job import Job, Summary
from classifier_training.inference.journal import Journal
from classifier_training.inference.listing import Image, outside
from classifier_training.inference.output import PARTIAL, WriteParquet, partial_path, write_rows
from classifier_training.inference.session import FEATURES
from classifier_training.inference.sorting import Sorter
from classifier_training.types import RowsFormat

WriteFeatures = Callable[[Path, Iterator[tuple[str, NDArray[np.float32]]]], None]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the rows go.

    Attributes:
        output: The file of predictions; None: there is none.
        kind: Its format.
        features: The file of features and their number D; None: they are not written.
        sorter: Sorts the files; None: they stay where they are.
        overwrite: Whether the file of an interrupted command is replaced where it holds other rows.
        write_parquet: Writes predictions as ``parquet``.
        write_features: Writes features as ``parquet``: to a file, names with their features float32 (D,).
    """

    output: Path | None = None
    kind: RowsFormat = "csv"
    features: tuple[Path, int] | None = None
    sorter: Sorter | None = None
    overwrite: bool = False
    write_parquet: WriteParquet | None = None
    write_features: WriteFeatures | None = None

    @property
    def is_there(self) -> bool:
        """Whether anything is written to files."""
        return self.journal is not None

    @property
    def journal(self) -> Path | None:
        """The file of what has been done so far; None: nothing is written to files."""
        if self.output is not None:
            return partial_path(self.output)
        if self.sorter is not None:
            return self.sorter.root / f"predictions{PARTIAL}"
        return None if self.features is None else partial_path(Path(f"{self.features[0]}.rows"))

    def run(
        self, job: Job, images: Iterator[Image], progress: Callable[[int], None], info: Callable[[str], None]
    ) -> Summary:
        """Predicts the images and writes the files; started again after a crash, goes on where it was.

        Args:
            job: What is done with each image.
            images: The images.
            progress: Called with the number of images so far.
            info: Called with messages.

        Raises:
            UserError: There are no images, they are not those of the interrupted command, or one cannot be read and
                the job is to stop there.
            OSError: A file cannot be written; what was written so far stays, for the same command to go on with.
        """
        if self.journal is None:
            raise ValueError("there is no file to write")
        is_new = not self.journal.parent.exists()
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        raw = None if self.features is None else RawFeatures(partial_path(self.features[0]), self.features[1])
        journal = Journal(self.journal, job.identity(), job.batch_size, features=raw, overwrite=self.overwrite)
        try:
            self._predict(job, images, journal, progress, info)
            return self._finish(job, journal)
        except BaseException as error:
            if isinstance(error, BadImageError) or not journal.num_done:
                journal.remove()
                if is_new:
                    with contextlib.suppress(OSError):  # not empty
                        self.journal.parent.rmdir()
            elif isinstance(error, KeyboardInterrupt):
                info(f"{journal.num_done} images are predicted; type the same command again to go on")
            raise
        finally:
            journal.close()

    def _predict(
        self,
        job: Job,
        images: Iterator[Image],
        journal: Journal,
        progress: Callable[[int], None],
        info: Callable[[str], None],
    ) -> None:
        """Completes the journal."""
        if journal.num_done:
            info(f"{journal.num_done} images were predicted by an earlier start of this command, which was interrupted")
        elif self.sorter is not None and self.sorter.log.exists():
            self.sorter.finish()  # of a command that was stopped in its last step
        if journal.is_complete and self.sorter is not None and self.sorter.has_moved:
            journal.check_rest(outside(images, self.sorter.root, lambda _: None))
            return
        if journal.is_complete:
            journal.check_complete(images)
            return
        journal.skip_done(images)
        for batch in job.outcomes(images, Summary()):
            features = [outcome.further.get(FEATURES) for outcome in batch]
            journal.append([job.form.row(outcome) for outcome in batch], features)
            progress(journal.num_done)
        journal.complete()

    def _finish(self, job: Job, journal: Journal) -> Summary:
        """Sorts the files and writes the output from the journal."""
        summary = Summary()
        for row in journal.rows():
            summary.count("" if row["label"] is None and not job.form.has_errors else row.get("error"))
        if self.sorter is not None:
            summary.sorted = self.sorter.sort(journal.rows(), job.warn)
        if self.output is not None:
            write_rows(self.output, self.kind, filter(job.is_shown, journal.rows()), job.form, self.write_parquet)
        if self.features is not None and journal.features is not None:
            self._write_features(self.features[0], job, journal, journal.features)
        journal.remove()
        if self.sorter is not None:
            summary.log = self.sorter.finish()
        return summary

    def _write_features(self, path: Path, job: Job, journal: Journal, raw: RawFeatures) -> None:
        """One row for each row of the output."""

        def shown() -> Iterator[tuple[str, NDArray[np.float32]]]:
            for row, features in zip(journal.rows(), raw.rows(), strict=True):
                if job.is_shown(row):
                    yield row["file"], features

        if self.write_features is not None and path.suffix != ".npy":
            self.write_features(path, shown())
        else:
            num_rows = sum(1 for _ in shown())
            write_npy(path, (features for _, features in shown()), (num_rows, raw.num_features))
