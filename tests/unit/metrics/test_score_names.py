from __future__ import annotations

from dataclasses import fields
from typing import get_args, get_type_hints

from tests.helpers.scored import make_scored

from classifier_training.config.schema import CheckpointConfig
from classifier_training.metrics.intervals import ScoreIntervals
from classifier_training.metrics.score_names import SCORE_TITLES


def test_the_names_are_the_attributes_of_scores_and_intervals() -> None:
    scores, _ = make_scored(20, 3)

    assert scores.by_name() == {name: getattr(scores, name) for name in SCORE_TITLES}
    assert [field.name for field in fields(ScoreIntervals)] == list(SCORE_TITLES)


def test_each_score_can_be_monitored() -> None:
    monitored = get_args(get_type_hints(CheckpointConfig)["monitor"])

    assert set(monitored) == {f"val/{name}" for name in (*SCORE_TITLES, "loss")}
