"""Messages, tables and progress bars: on the terminal and in ``train.log``."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, TextIO, cast

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from classifier_training import types
from classifier_training.errors import printable
from classifier_training.files.credentials import public_text
from classifier_training.terminal.notebook import NOTEBOOK_WIDTH, NotebookProgress

LOG_WIDTH = 160
SECONDS_BETWEEN_LINES = 30.0


class Terminal:
    """Prints messages, and writes the same into a log file once there is one.

    Args:
        quiet: Print warnings and results only.
        to_stderr: Keep standard output free, for output that a program reads.
        silent: Print nothing at all, because another process of the same run does.
    """

    def __init__(self, *, quiet: bool = False, to_stderr: bool = False, silent: bool = False) -> None:
        self.quiet = quiet or silent
        self.silent = silent
        stream: TextIO = sys.stderr if to_stderr else sys.stdout
        self._is_notebook = Console().is_jupyter and not to_stderr
        # a pipe has no width of its own; a narrow one would cut tables and paths
        width = NOTEBOOK_WIDTH if self._is_notebook else None if stream.isatty() else LOG_WIDTH
        # rich would show each line in an output of its own, and the kernel's stream says that it is a terminal
        self.console = Console(
            file=cast("IO[str]", _AnyEncoding(stream)),
            highlight=False,
            soft_wrap=True,
            width=width,
            force_jupyter=False,
            force_terminal=False if self._is_notebook else None,
        )
        self._log: Console | None = None
        self._log_file: IO[str] | None = None
        self._before_log: list[RenderableType] = []  # printed while there was no log file yet

    @property
    def is_interactive(self) -> bool:
        """Whether the output is a terminal or a notebook, whose lines can be redrawn."""
        return (self.console.is_terminal or self._is_notebook) and not self.quiet

    def progress_bars(self, *columns: ProgressColumn) -> Progress:
        """Bars of these columns, for an interactive output; on a terminal they disappear at their end."""
        if self._is_notebook:
            return NotebookProgress(*columns)
        return Progress(*columns, console=self.console, transient=True, refresh_per_second=5)

    def info(self, text: str) -> None:
        """One line about what is being done."""
        self._print(_plain(text), always=False)

    def result(self, text: str) -> None:
        """One line with the outcome of the command, printed even when quiet."""
        self._print(_plain(text), always=True)

    def warn(self, text: str) -> None:
        """One line starting with ``warning:``, printed even when quiet."""
        self._print(Text.assemble(("warning:", "yellow"), " ", _plain(text)), always=True)

    def show(self, renderable: RenderableType) -> None:
        """Any other rich renderable, such as a table."""
        self._print(renderable, always=False)

    def table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        others: Literal["left", "right"] = "right",
    ) -> None:
        """A table; its first column is text, and the others are numbers or, with ``others="left"``, text."""
        table = Table(title=_plain(title), title_justify="left", header_style="bold")
        for position, name in enumerate(columns):
            table.add_column(_plain(name), justify=others if position else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(_plain, row))
        self.show(table)

    def pairs(self, title: str, values: Mapping[str, str]) -> None:
        """A table of names and values."""
        table = Table(title=_plain(title), title_justify="left", show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in values.items():
            table.add_row(_plain(name), _plain(value))
        self.show(table)

    @contextlib.contextmanager
    def log_to(self, path: Path) -> Iterator[None]:
        """Writes all messages, earlier ones included, to a file too; an existing file is appended to."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            self._log = Console(file=file, highlight=False, width=LOG_WIDTH, soft_wrap=True, no_color=True)
            self._log_file = file
            self.log_line(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}")
            for renderable in self._before_log:
                self._log.print(renderable)
            self._before_log.clear()
            try:
                yield
            except Exception as error:
                with contextlib.suppress(OSError):  # the disk may be full
                    self.log_line(f"error: {public_text(str(error))}")
                raise
            finally:
                self._log = self._log_file = None

    def log_line(self, text: str) -> None:
        """One line for the log file only."""
        if self._log is not None and self._log_file is not None:
            self._log.print(_plain(text))
            self._log_file.flush()
        else:
            self._before_log.append(_plain(text))

    @contextlib.contextmanager
    def progress(self, what: str, unit: str) -> Iterator[types.Progress]:
        """Shows the progress of a long job: a bar on a terminal, a line now and then elsewhere.

        Yields a function to call with the number of items done and the total number, 0 as long as that is not known.
        """
        if not self.is_interactive:
            yield self._progress_lines(what, unit)
            return
        text, after = TextColumn(what, markup=False), TextColumn(unit, markup=False)
        columns = (text, BarColumn(), MofNCompleteColumn(), after, TimeRemainingColumn())
        bar = self.progress_bars(*columns)
        task = bar.add_task(what, total=None)

        def update(done: int, total: int) -> None:
            bar.start()  # only now: a job that waits for another one shows nothing yet
            bar.update(task, completed=done, total=total or None)
            if done >= total > 0:
                bar.stop()

        try:
            yield update
        finally:
            bar.stop()

    @contextlib.contextmanager
    def capture_warnings(self) -> Iterator[None]:
        """Turns Python warnings into one line each; the full text goes to the log file."""
        seen: set[str] = set()

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,  # noqa: ARG001 - the warnings module's signature
            line: str | None = None,  # noqa: ARG001
        ) -> None:
            text = public_text(" ".join(str(message).split()))
            if text not in seen:
                seen.add(text)
                self.warn(text if len(text) <= LOG_WIDTH else f"{text[:LOG_WIDTH]}…")
                self.log_line(f"{category.__name__} at {filename}:{lineno}: {text}")

        with warnings.catch_warnings():
            warnings.showwarning = show
            yield

    def _progress_lines(self, what: str, unit: str) -> types.Progress:
        started = last = time.monotonic()

        def update(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= SECONDS_BETWEEN_LINES and done:
                last = now
                left = (now - started) / done * (total - done)
                of = f" of {total} {unit}, {duration(left)} left" if total else f" {unit}"
                self.info(f"{what}: {done}{of}")

        return update

    def _print(self, renderable: RenderableType, *, always: bool) -> None:
        if not self.silent and (always or not self.quiet):
            self.console.print(renderable)
        if self._log is not None and self._log_file is not None:
            self._log.print(renderable)
            self._log_file.flush()
        else:
            self._before_log.append(renderable)


def _plain(text: str) -> Text:
    """Text without markup or emoji codes, on one line; what would control the terminal is escaped."""
    return Text(printable(text))


class _AnyEncoding:
    """A stream that shows an escape for every character that its encoding lacks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text."""
        try:
            return self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def duration(seconds: float) -> str:
    """A human-readable duration: ``42 s``, ``3 min 10 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
