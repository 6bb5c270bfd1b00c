"""``events.json``: what happened to a run besides its epochs, such as a stop, a resume, or memory that ran out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from classifier_training.files.credentials import without_credentials
from classifier_training.files.text import plain_text
from classifier_training.run.folder import RunFolder
from classifier_training.run.processes import is_main_process
from classifier_training.run.records import FORMAT, DamagedFileError, Format, Items, read_record, write_record
from classifier_training.warn import warn_instead_of_raise

_MOST: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        time: When, ISO 8601.
        text: What, in one line.
    """

    time: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """All of it, the first one first.

    Attributes:
        events: The latest thousand of them.
    """

    events: Items[Event] = ()
    format: Format = FORMAT


def note_event(run: RunFolder, text: str) -> None:
    """Adds an event of now to those of a run, if there is a run folder; only the first process does."""
    if not is_main_process() or not run.root.is_dir():
        return
    try:
        before = read_record(run.events, Events)
    except (OSError, DamagedFileError):  # nothing depends on it
        before = Events()
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    event = Event(time=now, text=without_credentials(plain_text(text)))
    with warn_instead_of_raise(run.events.name):
        write_record(run.events, replace(before, events=(*before.events, event)[-_MOST:]))
