"""Scoring a finished model on labelled images, the folder it is written to, and gates.

Training calls it for its test score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.evaluation.evaluate import Evaluation as Evaluation
    from classifier_training.evaluation.evaluate import evaluate as evaluate

__all__, __getattr__, __dir__ = lazy_names(__name__, {"Evaluation": "evaluate", "evaluate": "evaluate"})
