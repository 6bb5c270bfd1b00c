from __future__ import annotations

import dataclasses

import pytest

from classifier_training.config.overrides import Override, Overrides


def test_a_setting_is_shown_as_it_was_written() -> None:
    assert Override("optimizer.lr", 0.001, "command line", "1e-3").shown == "1e-3"
    assert Override("data.train_scale", [0.5, True, None], "argument").shown == "[0.5, true, null]"


def test_settings_and_faults_are_sorted_each_in_their_order() -> None:
    first, second = Override("seed", 1, "argument"), Override("run.name", "a", "argument")

    assert Overrides.of([first, "one fault", second, "another"]) == Overrides((first, second), ("one fault", "another"))


def test_the_last_of_a_setting_wins() -> None:
    given = Overrides.of([Override("seed", value, "argument") for value in (1, 2)])
    last = given.last("seed")

    assert last is not None
    assert last.value == 2
    assert given.last("run.name") is None


def test_some_settings_are_taken_with_all_faults() -> None:
    given = Overrides.of([Override("seed", 1, "argument"), Override("run.name", "a", "argument"), "a fault"])

    assert [one.key for one in given.only(lambda key: key != "seed").settings] == ["run.name"]
    assert given.only(lambda key: False).faults == ("a fault",)


def test_anything_given_is_more_than_nothing() -> None:
    assert not Overrides()
    assert Overrides(faults=("a fault",))
    assert Overrides((Override("seed", 1, "argument"),))


def test_what_was_given_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Override("seed", 1, "argument").value = 2  # type: ignore[misc]  # the test is that it cannot be done
