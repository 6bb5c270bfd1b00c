"""The runs of a cross-validation: the score of each fold, and their mean."""

from __future__ import annotations

from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.section import Section
from classifier_training.pages.wording import percentage
from classifier_training.results.folds_file import FoldsFile
from classifier_training.terminal.terminal import duration

KEY, TITLE = "folds", "Folds"


def folds_section(data: RunData) -> Section | None:
    """A row for each fold; only a cross-validation has them."""
    folds = data.folds
    if folds is None:
        return None
    names = list(folds.means)
    rows = [
        {
            "name": f"fold {row.fold}",
            "report": f"fold-{row.fold}/report.html",
            "photos": row.num_images,
            "scores": [percentage(getattr(row, name)) for name in names],
            "epoch": row.best_epoch + 1,
            "time": duration(row.seconds),
        }
        for row in folds.folds
    ]
    ends = [f"{100 * low:.1f} to {100 * high:.1f}" for low, high in (folds.intervals[name] for name in names)]
    values = {
        "titles": [SCORE_TITLES[name] for name in names],
        "rows": rows,
        "means": [percentage(folds.means[name]) for name in names],
        "ends": ends,
        "level": percentage(folds.confidence_level, 0),
        "has_final": folds.has_final,
    }
    return Section(KEY, TITLE, lead=folds_sentence(folds), values=values)


def folds_sentence(folds: FoldsFile) -> str:
    """The mean over the folds, and what it says of a model of the same settings."""
    low, high = (percentage(end) for end in folds.intervals["top1"])
    final = " The final model is trained on all photos, so it should do about as well." if folds.has_final else ""
    return (
        f"On average, {percentage(folds.means['top1'])} of a fold are classified correctly by the run that has not"
        f" trained on it ({percentage(folds.confidence_level, 0)} interval of a training with these settings: {low} to"
        f" {high}).{final}"
    )
