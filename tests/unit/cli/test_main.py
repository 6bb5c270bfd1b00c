import errno
import importlib
import os
import subprocess
from pathlib import Path

import pytest
from tests.helpers.cli import ENVIRONMENT, PROGRAM

import classifier_training
from classifier_training import cli
from classifier_training.errors import ConfigError, DataError, VerificationError

output_module = importlib.import_module("classifier_training.inference.output")


def end_of(*words: str) -> int:
    """Exit code of a command that is run in this process."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(words))
    code = ended.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (DataError("no photos"), 2, ["error: no photos"]),
        (ConfigError("first fault\nsecond fault"), 2, ["error: first fault", "error: second fault"]),
        (VerificationError("other logits"), 1, ["error: other logits"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a/metrics.csv"),
            2,
            ["error: cannot write runs/a/metrics.csv: No space left on device; files written before are complete"],
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            2,
            ["error: cannot write: No space left on device; files written before are complete"],
        ),
        (
            OSError(errno.EIO, "Input/output error", "a.jpg"),
            2,
            ["error: cannot read or write a.jpg: Input/output error"],
        ),
        (
            PermissionError(errno.EACCES, "no", b"x" * 400),
            2,
            [f"error: cannot read or write {'x' * 150}…{'x' * 148}: no"],
        ),
        (ConnectionError("no route\nto host"), 2, ["error: cannot read or write: no route"]),
        (ValueError("open: embedded null character"), 2, ["error: a path holds a NUL character, which no path can"]),
    ],
)
def test_how_a_command_ends(
    error: BaseException,
    code: int,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(output_module, "check_output", fail)

    assert end_of("predict", "model.onnx", "photo.jpg", "--output", "labels.csv") == code
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize("error", [RuntimeError("a fault of the program"), ValueError("another one")])
def test_other_exceptions_keep_their_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(output_module, "check_output", fail)

    with pytest.raises(type(error), match=str(error.args[-1])):
        cli.main(["predict", "model.onnx", "photo.jpg", "--output", "labels.csv"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "a", "b"], "one folder is expected, got 2: a, b"),
        (["train", "none", "data.root=x"], "there is no folder x"),
        (["train", "none", "--epochs", "3"], "--epochs"),
        (["predict", "model.onnx"], "missing argument 'IMAGES'"),
        (["evaluate", "model.onnx", "--split", "all"], "--split"),
        (["predict", "model.onnx", "a.jpg", "--batch-size", "0"], "--batch-size"),
        (["tarin"], "type: classifier-training train"),
        (["config", "show", "seed=-1"], "seed=-1 (command line): must be a whole number"),
        (["train", "--resume", "seed=-1"], "seed=-1 (command line): must be a whole number"),
        (["demo", "seed=-1"], "seed=-1 (command line): must be a whole number"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert end_of(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    """`config options | head` closes the pipe while there is more to come."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        ended = subprocess.run(
            [*PROGRAM, "config", "options"], stdout=write_end, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False
        )
    finally:
        os.close(write_end)

    assert b"Traceback" not in ended.stderr


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--version"])
    assert capsys.readouterr().out == f"classifier-training {classifier_training.__version__}\n"


def test_the_values_of_a_choice_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["config", "options"])
    assert "none | sampler | loss_weights | logit_adjustment" in capsys.readouterr().out
