from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from classifier_training.errors import TrainingStopped
from classifier_training.files.atomic import atomic_path
from classifier_training.run.stop_requests import SCHEDULER_SIGNALS, StopRequests, ended_by_sigterm

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
each = pytest.mark.parametrize("number", SCHEDULER_SIGNALS, ids=lambda number: signal.Signals(number).name)


@pytest.fixture(autouse=True)
def heard() -> Iterator[list[int]]:
    """The handlers that were there before, and what they heard."""
    numbers: list[int] = []

    def hear(number: int, frame: Any) -> None:
        numbers.append(number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, *SCHEDULER_SIGNALS)}
    yield numbers
    assert all(signal.getsignal(number) is hear for number in before), "a signal was not given back"
    for number, handler in before.items():
        signal.signal(number, handler)


@each
def test_a_request_ends_what_is_done_at_once(number: int, heard: list[int]) -> None:
    with pytest.raises(TrainingStopped, match=f"^stopped by {signal.Signals(number).name}$") as stopped, StopRequests():
        signal.raise_signal(number)
    assert stopped.value.code == 0
    assert heard == []


@each
def test_a_postponed_request_is_noted(number: int, heard: list[int], capfd: pytest.CaptureFixture[str]) -> None:
    with StopRequests() as requests:
        requests.postpone()
        signal.raise_signal(number)
        assert requests.received == number
        requests.end_postponement()
    assert heard == []
    assert f"last.ckpt will be written ({signal.Signals(number).name})" in capfd.readouterr().err


def test_one_process_of_several_announces_a_stop(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal and torchrun send a signal to all of them."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    with StopRequests() as requests:
        requests.postpone()
        signal.raise_signal(signal.SIGTERM)
        assert requests.received == signal.SIGTERM
        requests.end_postponement()
    assert capfd.readouterr().err == ""


def test_one_request_ends_one_training() -> None:
    with StopRequests() as requests:
        requests.postpone()
        signal.raise_signal(signal.SIGUSR1)
        requests.end_postponement()
        signal.raise_signal(signal.SIGTERM)  # while what the first one asked for is being done
        assert requests.received == signal.SIGUSR1


def test_the_first_interrupt_is_noted_and_the_second_is_as_it_was(heard: list[int]) -> None:
    requests = StopRequests()
    requests.postpone()
    signal.raise_signal(signal.SIGINT)
    assert (requests.received, heard) == (signal.SIGINT, [])
    signal.raise_signal(signal.SIGINT)
    assert heard == [signal.SIGINT]
    requests.end_postponement()


def test_an_interrupt_is_not_ours_unless_it_is_postponed(heard: list[int]) -> None:
    with StopRequests() as requests:
        signal.raise_signal(signal.SIGINT)
        assert requests.received is None
    assert heard == [signal.SIGINT]


def test_alone_it_leaves_the_second_signal_to_a_handler_that_is_there(heard: list[int]) -> None:
    requests = StopRequests()
    requests.postpone()
    signal.raise_signal(signal.SIGUSR1)
    assert (requests.received, heard) == (None, [signal.SIGUSR1])
    requests.end_postponement()


def test_a_handler_that_was_installed_meanwhile_stays(heard: list[int]) -> None:
    others: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    with StopRequests():
        signal.signal(signal.SIGTERM, lambda number, frame: others.append(number))
    signal.raise_signal(signal.SIGTERM)
    assert (others, heard) == ([signal.SIGTERM], [])
    signal.signal(signal.SIGTERM, before)


def test_in_another_thread_signals_are_left_alone(heard: list[int]) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with StopRequests() as requests:
                requests.postpone()
                requests.end_postponement()
        except BaseException as error:  # told to the test, whatever it is
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []


def test_an_interrupt_that_was_lost_in_a_destructor_is_raised_when_asked() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with StopRequests() as requests:
        requests.raise_if_received()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            requests.raise_if_received()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_the_second_interrupt_of_a_training_is_pythons_own() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with StopRequests() as requests:
        requests.postpone()
        signal.raise_signal(signal.SIGINT)
        assert requests.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        requests.end_postponement()
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_sigterm_leaves_no_half_written_file(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended, ended_by_sigterm(), atomic_path(tmp_path / "model"):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143
    assert not list(tmp_path.iterdir())


def test_sigterm_stays_with_who_handles_it(heard: list[int]) -> None:
    with ended_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]
