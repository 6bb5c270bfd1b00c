"""The work of the command `predict`: images come one after the other, and nothing holds all of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from classifier_training.errors import BadImageError, UnreadableImagesError
from classifier_training.files.text import NUM_NAMED, name_some
from classifier_training.inference.classifier import Classifier
from classifier_training.inference.listing import Image
from classifier_training.inference.openvino_session import WEIGHTS_SUFFIX
from classifier_training.inference.rows import Outcome, Row, RowFormat
from classifier_training.inference.session import UNKNOWN_SCORE
from classifier_training.types import OnBadFile

_STOP: Final = ("stop", "raise")


@dataclass(slots=True)
class Summary:
    """How it went.

    Attributes:
        num_images: Images so far, those that cannot be read among them.
        num_bad: Those that cannot be read.
        first_bad: The first of their errors.
        sorted: Files that were copied or moved, by class.
        log: The log of these; None: there were none.
    """

    num_images: int = 0
    num_bad: int = 0
    first_bad: list[str] = field(default_factory=list)
    sorted: Counter[str] = field(default_factory=Counter)
    log: Path | None = None

    def count(self, error: str | None) -> None:
        """Counts an image, with its error if it has one."""
        self.num_images += 1
        if error is not None:
            self.num_bad += 1
            if len(self.first_bad) < NUM_NAMED:
                self.first_bad.append(error)

    def check(self, on_bad_file: OnBadFile) -> None:
        """Ends the command with exit code 1 where rows have errors.

        Raises:
            UnreadableImagesError: They have.
        """
        if self.num_bad and on_bad_file == "row":
            some = name_some(self.first_bad, total=self.num_bad)
            raise UnreadableImagesError(f"{self.num_bad} of {self.num_images} images cannot be predicted: {some}")


@dataclass(frozen=True, slots=True)
class Job:
    """What is done with each image.

    Attributes:
        classifier: The model.
        form: Which facts are written.
        warn: Called with warnings.
        batch_size: Images per run of the model.
        on_bad_file: What to do about a file that is not an image.
        further: Outputs of the model that are needed besides the predictions.
    """

    classifier: Classifier
    form: RowFormat
    warn: Callable[[str], None]
    batch_size: int
    on_bad_file: OnBadFile = "row"
    further: tuple[str, ...] = ()

    def outcomes(self, images: Iterable[Image], summary: Summary) -> Iterator[list[Outcome]]:
        """What comes of the images, a batch at a time, in order.

        Raises:
            BadImageError: A file is not an image, and the job is to stop there.
        """
        further = self.further if self.form.unknown is None else (*self.further, UNKNOWN_SCORE)
        batches = self.classifier.outcomes(images, self.batch_size, self.form.tta, further)
        for batch in batches:
            for outcome in batch:
                if outcome.error is not None and self.on_bad_file in _STOP:
                    raise BadImageError(outcome.error)
                if outcome.error is not None and self.on_bad_file == "skip":
                    self.warn(f"left out: {outcome.error}")
                summary.count(outcome.error)
            yield batch

    def is_shown(self, row: Row) -> bool:
        """Whether a row is part of the result."""
        return self.form.has_errors or row["label"] is not None

    def identity(self) -> dict[str, Any]:
        """What rows depend on besides the images, as plain values."""
        rows = dataclasses.asdict(self.form)
        del rows["safe_csv"]  # which is applied at the end
        card = f"{self.classifier.classes} {self.classifier.preprocessing}"
        files = [self.classifier.path, self.classifier.path.with_suffix(WEIGHTS_SUFFIX)]  # weights of OpenVINO
        digests = [_digest_of(file) for file in files if file.is_file()]
        digests.append(hashlib.blake2b(card.encode("utf-8", "surrogatepass")))
        model = "".join(one.hexdigest()[:32] for one in digests)
        return {
            "model": model,
            "batch_size": self.batch_size,
            "further": self.further,
            "rows": rows | {"classes": len(self.form.classes)},
        }


def _digest_of(path: Path) -> Any:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b")
