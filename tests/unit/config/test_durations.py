from __future__ import annotations

import pytest

from classifier_training.config import load_config
from classifier_training.config.section import seconds_of
from classifier_training.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("1d1h1m1.5s", 90061.5), ("600", 600), ("0.5", 0.5)],
)
def test_a_time_limit_is_a_number_of_seconds_or_a_text_with_units(typed: str, seconds: float) -> None:
    assert load_config([f"trainer.time_limit={typed}"]).trainer.time_limit_seconds == seconds
    assert seconds_of(load_config({"trainer.time_limit": seconds}).trainer.time_limit or 0) == seconds


@pytest.mark.parametrize("typed", ["0", "0m", "m", "-5", "10min", "1h30", "30m1h", "1:30", "nan", "ten minutes", "10M"])
def test_what_is_no_duration_is_refused_in_one_line(typed: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config([f"trainer.time_limit={typed}"])
    assert str(error.value) == (
        f"trainer.time_limit={typed} (argument): must be a number, above 0, or text, such as 90s, 10m or 1h30m, or null"
    )


def test_without_a_number_of_epochs_the_clock_ends_the_training_if_there_is_a_limit() -> None:
    plain, timed, both = (
        load_config(settings).trainer
        for settings in ([], ["trainer.time_limit=1m"], ["trainer.time_limit=1m", "trainer.max_epochs=3"])
    )
    assert [one.is_ended_by_clock for one in (plain, timed, both)] == [False, True, False]
    assert [one.num_epochs for one in (plain, timed, both)] == [20, 20, 3]
