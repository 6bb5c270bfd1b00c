"""The program: its commands, and how an error becomes a line on the screen and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from classifier_training.cli.cache import cache_clear, cache_show
from classifier_training.cli.compare import compare
from classifier_training.cli.config import config_options, config_show
from classifier_training.cli.demo import demo
from classifier_training.cli.evaluate import evaluate
from classifier_training.cli.export import export
from classifier_training.cli.predict import predict
from classifier_training.cli.prepare import prepare
from classifier_training.cli.report import report
from classifier_training.cli.serve import serve
from classifier_training.cli.train import train
from classifier_training.errors import ClassifierTrainingError, UserError, explain_out_of_memory, first_line, printable
from classifier_training.files.credentials import public_text
from classifier_training.files.text import short_words

EXIT_INTERRUPTED = 130
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Train and score": (train, evaluate),
    "Use a model": (predict, serve, export),
    "Inspect results": (report, compare),
    "Prepare data": (prepare,),
    "Settings and demo": (demo,),
}
"""The commands in the order in which people use them; ``config`` comes before ``demo``."""


class _Commands(TyperGroup):
    """Lists the commands in the order of `PANELS`; Typer itself lists groups last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands."""
        *names, config, cache = super().list_commands(ctx)
        return [*names[:-1], config, cache, names[-1]]


class _Command(TyperCommand):
    """Shows its arguments in the usage line as they are typed, before the options."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """The parts of the usage line after the name."""
        return [*(param.metavar or "" for param in self.params if param.param_type_name == "argument"), "[OPTIONS]"]


app = typer.Typer(
    name="classifier-training",
    cls=_Commands,
    help="Train an image classifier on a folder of labelled photos, score it, and export it as a verified ONNX model.",
    epilog="Examples for each command: classifier-training COMMAND -h",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        from classifier_training import __version__

        typer.echo(f"classifier-training {__version__}")


for panel, commands in PANELS.items():
    for command in commands:
        app.command(cls=_Command, rich_help_panel=panel)(command)
config_app = typer.Typer(help="Show a configuration, or list all settings.", no_args_is_help=True)
config_app.command("show", cls=_Command)(config_show)
config_app.command("options", cls=_Command)(config_options)
app.add_typer(config_app, name="config", rich_help_panel="Settings and demo")

cache_app = typer.Typer(help="Show what the cache folder holds, or remove what is old.", no_args_is_help=True)
cache_app.command("show", cls=_Command)(cache_show)
cache_app.command("clear", cls=_Command)(cache_clear)
app.add_typer(cache_app, name="cache", rich_help_panel="Settings and demo")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process: 0 success, 1 failure, 2 wrong input, 130 interrupted.

    A training stopped by a scheduler's signal also ends with 0: `TrainingStopped` is a `SystemExit`.
    """
    words = sys.argv[1:] if arguments is None else arguments
    # --resume is a flag followed by the run; people also type --resume=RUN
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--resume=") else [word])]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a console without Unicode shows escapes instead
    try:
        with explain_out_of_memory(
            "running the command", "free memory of this machine, or give it less to do at a time"
        ):
            code = app(words or ["--help"], prog_name=app.info.name, standalone_mode=False)
    except ClassifierTrainingError as error:
        _fail(error.lines, error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(EXIT_INTERRUPTED)
    except (OSError, ValueError) as error:
        _end_of_file_error(error)
        raise
    except Exception as error:
        # Typer's own errors about the arguments; the class they share has moved between its versions
        if not hasattr(error, "format_message"):
            raise
        from classifier_training.cli.mistakes import explain_mistake

        explanation = explain_mistake(words, error.format_message(), typer.main.get_command(app))
        _fail([explanation] if explanation else [], UserError.exit_code)
    if isinstance(code, int) and code:  # Typer turns an interrupt into its exit code
        sys.stderr.write("interrupted\n")
        sys.exit(code)


def _end_of_file_error(error: OSError | ValueError) -> None:
    """Ends the process where a file, a path or a connection is at fault."""
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        # the program that read the output has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UserError.exit_code)
    if isinstance(error, OSError):
        _fail([explain_os_error(error)], UserError.exit_code)
    if "embedded null" in str(error):
        _fail(["a path holds a NUL character, which no path can"], UserError.exit_code)


def explain_os_error(error: OSError) -> str:
    """One line about a file that could not be read or written, or about a connection."""
    where = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
    reason = error.strerror or first_line(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}:
        return f"cannot write{where}: {reason}; files written before are complete"
    return f"cannot read or write{where}: {reason}"


def _fail(lines: Sequence[str], code: int) -> None:
    for line in lines:
        sys.stderr.write(f"error: {printable(short_words(public_text(line)))}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
