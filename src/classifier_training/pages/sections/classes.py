"""The scores of each class."""

from __future__ import annotations

from collections.abc import Sequence

from classifier_training.pages.charts.svg import one_line, quoted
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.read.scored_data import ScoredData
from classifier_training.pages.section import Section, shown_scores_name
from classifier_training.pages.wording import count, listing, percentage
from classifier_training.results.scores_file import ClassRow

KEY, TITLE = "classes", "Scores by class"
FEW = 10  # images of a class, below which its scores are imprecise
FILTER_FROM = 20  # classes, from which the table can be searched
MOST_ROWS = 1_000  # classes; of more of them the table has the weakest ones
NUM_WEAKEST = 200


def classes_section(data: RunData) -> Section:
    """Precision, recall, F1 and support with their intervals."""
    scored = data.scored
    if scored is None or not scored.per_class:
        return Section(KEY, TITLE, empty="Nothing has been scored yet.")
    rows = [
        {
            "name": one_line(row.name),
            "support": row.support,
            "is_few": row.support < FEW,
            "scores": [(row.precision, row.precision_interval), (row.recall, row.recall_interval), (row.f1, None)],
        }
        for row in _shown(scored.per_class)
    ]
    values = {
        "num_classes": len(scored.per_class),
        "rows": rows,
        "level": percentage(scored.confidence_level, 0),
        "has_intervals": any(row.precision_interval or row.recall_interval for row in scored.per_class),
        "photos": shown_scores_name(scored.split),
        "has_filter": len(rows) >= FILTER_FROM,
        "few": FEW,
        "has_few": any(row["is_few"] for row in rows),
        "balanced_accuracy": scored.balanced_accuracy,
        "macro_f1": scored.macro_f1,
    }
    return Section(KEY, TITLE, lead=_lead(scored), values=values)


def _shown(rows: Sequence[ClassRow]) -> Sequence[ClassRow]:
    """All classes; of very many the weakest by F1, those without photos left out."""
    if len(rows) <= MOST_ROWS:
        return rows
    return sorted((row for row in rows if row.support), key=lambda row: (row.f1 or 0, -row.support))[:NUM_WEAKEST]


def _lead(scored: ScoredData) -> str:
    """The weakest and the strongest class by F1, and the classes without photos."""
    known = sorted((row for row in scored.per_class if row.support and row.f1 is not None), key=lambda row: row.f1 or 0)
    sentences = []
    if len(known) > 1 and known[0].f1 != known[-1].f1:
        sentences.append(f"The weakest class is {_of(known[0])}, the strongest {_of(known[-1])}.")
    elif known:
        sentences.append(f"All classes with photos have an F1 of {percentage(known[0].f1)}.")
    absent = [quoted(row.name) for row in scored.per_class if not row.support]
    if absent:
        have, whose = ("has", "its") if len(absent) == 1 else ("have", "their")
        photo = shown_scores_name(scored.split)[:-1]
        sentences.append(f"{listing(absent)} {have} no {photo}: {whose} scores are not known.")
    return " ".join(sentences)


def _of(row: ClassRow) -> str:
    return f"{quoted(row.name)} (F1 {percentage(row.f1)}, {count(row.support, 'photo')})"
