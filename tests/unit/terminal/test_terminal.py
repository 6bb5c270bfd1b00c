from __future__ import annotations

import io
import pickle
import sys
import warnings
from pathlib import Path

import pytest

from classifier_training.errors import ConfigError, DataError
from classifier_training.terminal import terminal as module
from classifier_training.terminal.terminal import LOG_WIDTH, Terminal, duration

NASTY = ["[bold]no[/bold]", "photo[1].jpg", "[/]", "C:\\photos\\", "[", "a:dog:b", "Käse/日本", "50 %", "{0}"]


class Screen(io.StringIO):
    """A terminal that can be read afterwards."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", NASTY)
def test_text_is_shown_as_it_is(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    with terminal.log_to(tmp_path / "train.log"):
        terminal.info(text)
        terminal.warn(text)
        terminal.pairs("title", {text: text})
        terminal.table("title", [text], [[text]])
        terminal.log_line(text)
    shown, logged = capsys.readouterr().out, (tmp_path / "train.log").read_text(encoding="utf-8")
    assert text in shown.splitlines()
    assert f"warning: {text}" in shown.splitlines()
    assert shown.count(text) == 6
    assert logged.count(text) == 7


def test_bytes_of_a_file_name_that_are_not_utf8_are_shown_as_escapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")  # as os.fsdecode gives it
    terminal = Terminal()
    with terminal.log_to(tmp_path / "train.log"):
        terminal.info(name)
        terminal.table("files", ["file"], [[name]], others="left")
    assert capsys.readouterr().out.count("caf\\udce9.jpg") == 2
    assert (tmp_path / "train.log").read_text(encoding="utf-8").count("caf\\udce9.jpg") == 2


def test_a_long_line_is_not_broken_in_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "word " * 200 + "end"
    terminal = Terminal()
    with terminal.log_to(tmp_path / "train.log"):
        terminal.info(text)
    assert text in capsys.readouterr().out.splitlines()
    assert text in (tmp_path / "train.log").read_text().splitlines()


def test_a_long_cell_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"word{number}" for number in range(100)]
    Terminal().table("t", ["name", "text"], [["x", " ".join(words)]], others="left")
    shown = capsys.readouterr().out
    assert all(word in shown for word in words)
    assert "…" not in shown


def test_quiet_means_warnings_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(quiet=True)
    with terminal.log_to(tmp_path / "train.log"):
        terminal.info("a line")
        terminal.table("table", ["name"], [["row"]])
        terminal.warn("careful")
    assert capsys.readouterr().out == "warning: careful\n"
    logged = (tmp_path / "train.log").read_text()
    assert all(text in logged for text in ("a line", "row", "warning: careful"))


def test_silent_means_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(silent=True)
    terminal.info("a line")
    terminal.warn("careful")
    assert capsys.readouterr() == ("", "")


def test_standard_output_can_be_kept_free(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(to_stderr=True)
    terminal.info("a line")
    terminal.warn("careful")
    assert capsys.readouterr() == ("", "a line\nwarning: careful\n")


def test_a_log_starts_with_earlier_messages_and_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "run" / "train.log"
    terminal = Terminal(quiet=True)
    terminal.info("before")
    with terminal.log_to(path):
        terminal.info("within")
    terminal.info("after")
    with Terminal(quiet=True).log_to(path):
        pass
    lines = path.read_text().splitlines()
    assert [line for line in lines if not line.startswith("--- ")] == ["before", "within"]
    assert len(lines) == 4, "each part begins with its time"


def test_an_error_is_the_last_line_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it broke"), Terminal(quiet=True).log_to(tmp_path / "train.log"):
        raise ValueError("it broke")
    assert (tmp_path / "train.log").read_text().splitlines()[-1] == "error: it broke"


def test_a_warning_is_printed_once_and_in_full_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    text = "the number\n   of workers " + "is small " * 30
    with terminal.log_to(tmp_path / "train.log"), terminal.capture_warnings():
        warnings.simplefilter("always")
        for _ in range(3):
            warnings.warn(text, UserWarning, stacklevel=1)
        warnings.warn("another", FutureWarning, stacklevel=1)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("warning: the number of workers is small")
    assert (len(first), first[-1]) == (len("warning: ") + LOG_WIDTH + 1, "…")
    assert second == "warning: another"
    logged = (tmp_path / "train.log").read_text()
    assert logged.count(" ".join(text.split())) == 1
    assert "UserWarning at " in logged
    assert Path(__file__).name in logged


def test_warnings_are_as_before_afterwards() -> None:
    with Terminal().capture_warnings():
        pass
    with pytest.warns(UserWarning, match="ours"):
        warnings.warn("ours", UserWarning, stacklevel=1)


def test_progress_on_a_screen_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", screen)
    terminal = Terminal()
    assert terminal.is_interactive
    with terminal.progress("scoring", "images") as progress:
        progress(3, 8)
    assert "scoring" in screen.getvalue()
    assert "3/8" in screen.getvalue()
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h") == 1


def test_progress_elsewhere_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    with Terminal().progress("scoring", "images") as progress:
        for done, clock.now in ((0, 40.0), (1, 10.0), (2, 40.0), (3, 50.0), (5, 75.0)):
            progress(done, 10)
    assert capsys.readouterr().out.splitlines() == [
        "scoring: 2 of 10 images, 2 min 40 s left",
        "scoring: 5 of 10 images, 1 min 15 s left",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (190, "3 min 10 s"), (3599.7, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_a_duration_is_human_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text


HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x9b2J\u202egpj.exe\u2066\nline\r[bold]not[/bold] :smile: \udcff\u200b"
SHOWN = r"a\x1b[31mred\x1b]0;title\x07\x9b2J\u202egpj.exe\u2066\nline\r[bold]not[/bold] :smile: \udcff\u200b"


def test_what_would_control_a_terminal_is_shown_escaped(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    terminal = Terminal()
    with terminal.log_to(tmp_path / "train.log"):
        terminal.info(f"info {HOSTILE}")
        terminal.warn(HOSTILE)
        terminal.table(HOSTILE, [HOSTILE], [[HOSTILE]])
        terminal.pairs("pairs", {"name": HOSTILE})
        terminal.log_line(HOSTILE)
    shown, logged = capsys.readouterr().out, (tmp_path / "train.log").read_text(encoding="utf-8")

    for text in (shown, logged):
        assert f"info {SHOWN}\n" in text
        assert f"warning: {SHOWN}\n" in text
        assert text.count("[bold]not[/bold] :smile:") >= 5
        assert not set(HOSTILE) & set(text) - set(SHOWN) - {"\n"}


def test_ordinary_names_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("čaj", "日本語", "שלום", "🐈‍⬛", "क्‍ष", "C:\\new", "a b"):
        Terminal().info(name)
        assert capsys.readouterr().out == f"{name}\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_a_stream_that_is_not_unicode_gets_escapes(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    content = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(content, encoding=encoding, write_through=True))
    terminal = Terminal()

    terminal.info("čaj €")
    terminal.table("káva", ["čaj"], [["日本語"]])
    with terminal.progress("checking č", "files") as progress:
        progress(1, 1)

    shown = content.getvalue().decode(encoding)
    assert "\\u010daj" in shown
    assert "\\u65e5\\u672c\\u8a9e" in shown


def test_messages_of_exceptions_can_be_shown() -> None:
    assert str(DataError(f"no {HOSTILE}")) == f"no {SHOWN}"
    faults = ConfigError("one\ntwo\x1b")
    assert faults.lines == ["one", "two\\x1b"]
    assert pickle.loads(pickle.dumps(faults)).lines == faults.lines  # noqa: S301 - as from a loader process
