"""What ``--help`` shows, on screens of 80 and of 120 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from classifier_training.cli.main import app, main
from classifier_training.exporters.forms import FORMS


def all_commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all commands, such as ``("config", "show")``."""
    command = command or get_command(app)
    if not hasattr(command, "commands"):
        yield path
        return
    for name, child in command.commands.items():
        yield from all_commands(child, (*path, name))


@pytest.fixture(params=["80", "120"])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", request.param)
    return int(request.param)


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_commands_are_listed_in_the_order_of_use(
    words: list[str], width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words)

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    names = [line.strip("│ ").split("  ")[0] for line in lines]
    commands = ["train", "evaluate", "predict", "serve", "export", "report", "compare", "prepare", "config", "demo"]
    assert [name for name in names if name in commands] == commands
    titles = [line.strip("╭─╮ ") for line in lines if line.startswith("╭")]
    assert titles == [
        "Options",
        "Train and score",
        "Use a model",
        "Inspect results",
        "Prepare data",
        "Settings and demo",
    ]


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("path", list(all_commands()), ids=" ".join)
def test_a_command_shows_its_usage_and_two_examples(
    path: tuple[str, ...], flag: str, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*path, flag])

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= width
    command = f"classifier-training {' '.join(path)}"
    (usage,) = [line for line in lines if "Usage:" in line]
    assert usage.startswith(f" Usage: {command}")
    assert usage.endswith(" [OPTIONS]")
    start = lines.index(" Examples:") + 1
    examples = lines[start : lines.index("", start)]
    assert len(examples) >= 2
    assert all(f"{example} ".startswith(f" {command} ") for example in examples), (
        "an example is wrapped, or of another command"
    )


def test_every_form_of_an_export_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", "--help"])

    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"Form of the exported file: {', '.join(list(FORMS)[:-1])} or {list(FORMS)[-1]}." in shown
