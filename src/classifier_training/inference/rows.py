"""What `predict` writes of an image: the same facts as a row of a CSV file, a JSON object or a row of a table."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import ConfigError
from classifier_training.files.tables import Cell, as_text_in_spreadsheets
from classifier_training.inference.decision import Decision
from classifier_training.inference.session import UNKNOWN_SCORE
from classifier_training.inference.unknown import UnknownCard
from classifier_training.types import Prediction, RowsFormat, TestTimeAugmentation

Row = dict[str, Any]
_DIGITS: Final = ".6f"


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of one image: a prediction or an error.

    Attributes:
        name: The file, or its address.
        prediction: None where the file is not an image.
        error: Why there is no prediction; None where there is one.
        further: What the model gave besides, by the name of the output, as far as it was asked for.
    """

    name: str
    prediction: Prediction | None
    error: str | None = None
    further: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RowFormat:
    """Which facts a row has.

    Attributes:
        classes: K class names, in class order.
        top_k: How many of the most probable classes are written; None: the first, and in ``.jsonl`` and ``.parquet``
            files the probability of every class.
        decision: Which predictions abstain, and which classes a prediction set holds; None: nothing is decided.
        unknown: From which unknown score on an image is unlike those of the training; None: there is no such score.
        tta: Test-time augmentation of the predictions.
        has_errors: Whether files that are not images are rows.
        safe_csv: Put an apostrophe before cells that a spreadsheet would take for a formula.
        has_all: Whether rows without ``top_k`` hold the probability of every class.
    """

    classes: tuple[str, ...]
    top_k: int | None = None
    decision: Decision | None = None
    unknown: UnknownCard | None = None
    tta: TestTimeAugmentation = "none"
    has_errors: bool = False
    safe_csv: bool = False
    has_all: bool = True

    def __post_init__(self) -> None:
        if self.top_k is not None and not 1 <= self.top_k <= len(self.classes):
            raise ConfigError(f"--top-k {self.top_k}: the model has {len(self.classes)} classes; give 1 to that many")

    def row(self, outcome: Outcome) -> Row:
        """The facts of an image as plain values, every key in every row, None where a fact is missing."""
        prediction = outcome.prediction
        row: Row = {
            "file": outcome.name,
            "label": None if prediction is None else prediction.label,
            "probability": None if prediction is None else prediction.probability,
        }
        if self.decision is not None:
            row |= self._decided(self.decision, prediction)
        if self.unknown is not None:
            score = outcome.further.get(UNKNOWN_SCORE)
            row["unknown_score"] = None if score is None else float(score)
            row["unknown"] = None if score is None else bool(self.unknown.is_unknown(score))
        if self.tta != "none":
            row["tta"] = self.tta
        if self.top_k is not None:
            row["top"] = [] if prediction is None else self._top(prediction, self.top_k)
        elif self.has_all:
            every = None if prediction is None else dict(zip(self.classes, prediction.probabilities, strict=True))
            row["probabilities"] = every
        if self.has_errors:
            row["error"] = outcome.error
        return row

    @property
    def columns(self) -> list[str]:
        """The columns of a table of such rows."""
        further = [f"{name}_{place}" for place in range(2, (self.top_k or 1) + 1) for name in ("label", "probability")]
        decided = [] if self.decision is None else list(self._decided(self.decision, None))
        decided += ["unknown_score", "unknown"] * (self.unknown is not None)
        last = ["tta"] * (self.tta != "none") + ["error"] * self.has_errors
        return ["file", "label", "probability", *further, *decided, *last]

    def cells(self, row: Row) -> dict[str, Any]:
        """A row by `columns`; what is missing is None."""
        top = {
            f"{name}_{place}": one[name]
            for place, one in enumerate(row.get("top", ()), start=1)
            for name in ("label", "probability")
        }
        return {name: row[name] if name in row else top.get(name) for name in self.columns}

    def parquet_cells(self, row: Row) -> dict[str, Any]:
        """`cells`, and the probabilities of all classes, in class order, if the row has them."""
        every = row.get("probabilities")
        return self.cells(row) | {"probabilities": None if every is None else list(every.values())}

    def text_cells(self, row: Row) -> list[Cell]:
        """A row of a CSV file: a probability with six digits, empty text for what is missing."""
        cells = list(self.cells(row).values())
        if self.safe_csv:  # a number is none, though it may begin with a minus
            cells = [as_text_in_spreadsheets(value) if isinstance(value, str) else value for value in cells]
        return [_as_text(value) for value in cells]

    def _decided(self, decision: Decision, prediction: Prediction | None) -> Row:
        """Whether the model abstains, and the classes of its prediction set, as far as it decides these."""
        decided = None if prediction is None else decision.decide([prediction.probabilities])
        row: Row = {}
        if decision.abstain_threshold is not None:
            row["abstain"] = None if decided is None else bool(decided.abstain[0])
        if decision.set_threshold is not None:
            is_in = None if decided is None or decided.sets is None else decided.sets[0].tolist()
            row["prediction_set"] = None if is_in is None else list(compress(self.classes, is_in))
        return row

    def _top(self, prediction: Prediction, count: int) -> list[Row]:
        # the label comes first also where another class has the same probability
        first = prediction.index
        values = prediction.probabilities
        order = heapq.nsmallest(count, range(len(values)), key=lambda at: (-values[at], at != first, at))
        return [{"label": self.classes[at], "probability": prediction.probabilities[at]} for at in order]


def json_line(row: Mapping[str, Any]) -> bytes:
    r"""A row as a line of JSON; bytes of a file name that are not UTF-8 become ``\udcXX``."""
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return format(value, _DIGITS) if isinstance(value, float) else str(value)


def format_of(suffix: str) -> RowsFormat | None:
    """The format of a file name that ends in ``suffix``; None: it is none of these."""
    formats: Mapping[str, RowsFormat] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
    return formats.get(suffix.lower())


def table_rows(outcomes: Iterable[Outcome], form: RowFormat) -> list[Sequence[str]]:
    """Rows of text for the screen."""
    return [[str(cell) for cell in form.text_cells(form.row(outcome))] for outcome in outcomes]
