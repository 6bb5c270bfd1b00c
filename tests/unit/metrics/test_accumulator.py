from __future__ import annotations

import numpy as np
import pytest
from tests.helpers.confusion import confusion_and_top5

from classifier_training.errors import DataError
from classifier_training.metrics.accumulator import ScoringPass
from classifier_training.metrics.scores import predictions_from_logits, scores_from_confusion


@pytest.mark.parametrize(("room", "are_kept"), [(140, True), (139, False), (0, False)])
def test_batches_give_what_the_whole_gives(room: int, are_kept: bool) -> None:
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(20, 7)).astype(np.float32), generator.integers(0, 7, 20)
    logits[3] = np.nan
    scoring = ScoringPass(7, room)

    for rows in np.split(np.arange(20), [1, 9, 15]):
        scoring.update(logits[rows], labels[rows])
    scores, predictions = scoring.result()

    whole = predictions_from_logits(logits, labels)
    assert scores.to_dict("abcdefg") == scores_from_confusion(*confusion_and_top5(logits, labels)).to_dict("abcdefg")
    for name in ("labels", "predicted", "confidence", "losses"):
        np.testing.assert_array_equal(getattr(predictions, name), getattr(whole, name))
    if are_kept:
        assert predictions.probabilities is not None
        np.testing.assert_array_equal(predictions.probabilities, whole.probabilities)
    else:
        assert predictions.probabilities is None


def test_a_small_batch_after_a_large_one_is_not_kept_either() -> None:
    scoring = ScoringPass(2, 5)
    for count in (1, 3, 1):
        scoring.update(np.zeros((count, 2), np.float32), np.zeros(count, np.int64))

    assert scoring.result()[1].probabilities is None
    assert len(scoring.result()[1]) == 5


def test_nothing_to_score() -> None:
    with pytest.raises(DataError, match="no image to score"):
        ScoringPass(3).result()


def test_a_temperature_changes_probabilities_and_no_label() -> None:
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(50, 4)).astype(np.float32), generator.integers(0, 4, 50)
    logits[:, 1] = logits[:, 2]
    logits[:, 2] = np.nextafter(logits[:, 1], np.float32(9))  # the least that can be told from the other
    plain, tempered = ScoringPass(4), ScoringPass(4, temperature=3.7)
    for rows in np.split(np.arange(50), [20]):
        plain.update(logits[rows], labels[rows])
        tempered.update(logits[rows], labels[rows])

    (scores, raw), (same, predictions) = plain.result(), tempered.result()

    assert same.to_dict("abcd") == scores.to_dict("abcd")
    np.testing.assert_array_equal(predictions.predicted, raw.predicted)
    assert raw.before is None
    assert predictions.before is not None
    assert predictions.before.probabilities is None
    for name in ("labels", "predicted", "confidence", "losses"):
        np.testing.assert_array_equal(getattr(predictions.before, name), getattr(raw, name))
    expected = predictions_from_logits(logits.astype(np.float64) / 3.7, labels)
    assert predictions.probabilities is not None
    np.testing.assert_array_equal(predictions.probabilities, expected.probabilities)
    np.testing.assert_array_equal(predictions.losses, expected.losses)
