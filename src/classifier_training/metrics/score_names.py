"""The names of the scores, and their titles on the screen, in figures and on pages."""

from __future__ import annotations

from typing import Final

SCORE_TITLES: Final = {
    "top1": "top-1",
    "top5": "top-5",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
}
"""Title by name. The name is that of an attribute of `Scores`, of a key in files, of a gate, and, with its split as in
``val/top1``, of a logged metric."""
