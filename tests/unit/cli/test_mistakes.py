"""Commands and flags of other trainers: the line on the screen holds words that this program accepts."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from classifier_training.cli.main import app, main
from classifier_training.cli.mistakes import COMMANDS
from classifier_training.config.compose import load_config
from classifier_training.config.foreign_names import DEVICES, PHOTOS, SETTINGS, SWITCHES, takes_value
from classifier_training.config.options import option_table

PREDICT_TAKES = (
    "--output, -o, --format, --top-k, --threshold, --features, --copy-to, --move-to, --undo, --batch-size,"
    " --on-bad-image, --overwrite, --safe-csv, --labels, --preprocessing, --tta, --quiet, -q, --help, -h"
)
DEMO_TAKES = "--folder, --quiet, -q, --help, -h and settings, such as trainer.max_epochs=20"
TEN_EPOCHS = "trainer.max_epochs=ten (command line): must be a whole number, at least 1, or null"
ALL_SPLITS = "invalid value for '--split': 'all' is not one of 'train', 'val', 'test'"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str], folder: Path) -> Callable[..., str]:
    """Runs a command that must be refused in one line, and returns that line."""

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert list(folder.iterdir()) == []
        return line.removeprefix("error: ")

    return run


def check_accepted(line: str) -> list[str]:
    """Parses the command in a line as the program does, down to its settings, and returns its arguments."""
    words = [word for word in shlex.split(line.partition("type: ")[2]) if "CUDA_VISIBLE_DEVICES=" not in word]
    program, *arguments = words
    assert program == "classifier-training"
    if arguments in (["--help"], ["--version"]):
        return arguments
    command: Any = get_command(app)
    rest = list(arguments)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    command.make_context("command", list(rest))
    load_config([word for word in rest if word.partition("=")[0] in {*option_table(), "model"} and "=" in word])
    return arguments


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("arguments", [[], ["my photos"], ["runs/a", "photo.jpg"]])
def test_every_command_is_answered_with_one_that_exists(
    answer: Callable[..., str], name: str, arguments: list[str]
) -> None:
    line = answer(name, *arguments)

    assert line.startswith(f"there is no command {name}; type: classifier-training ")
    taken = COMMANDS[name].count("RUN") + COMMANDS[name].count("PHOTOS") + COMMANDS[name].count("IMAGES")
    if taken == 0 or taken >= len(arguments):
        assert set(arguments if taken else []) <= set(check_accepted(line))


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        (["val", "runs/a"], "evaluate runs/a --split val"),
        (["test", "my runs/a"], "evaluate 'my runs/a' --split test"),
        (["test"], "evaluate RUN --split test"),
        (["resume", "runs/a"], "train --resume runs/a"),
        (["resume"], "train --resume RUN"),
        (["check", "photos"], "train photos --dry-run"),
        (["fit", "photos", "--epochs", "5", "--quiet"], "train photos --quiet trainer.max_epochs=5"),
        (["classify", "runs/a", "photo.jpg"], "predict runs/a photo.jpg"),
        (["classify", "train", "data=photos", "epochs=5"], "train photos trainer.max_epochs=5"),
        (["classify", "predict", "model=runs/a", "source=photos"], "predict runs/a photos"),
        (["detect", "train", "data=photos", "epochs=5"], "train photos trainer.max_epochs=5"),
        (["trian", "photos"], "train photos"),
        (["infer", "photo.jpg"], "predict RUN photo.jpg"),
        (["diff", "runs/a", "runs/b"], "compare runs/a runs/b"),
        (["help", "train"], "--help"),
        (["VAL", "runs/a"], "evaluate runs/a --split val"),
        (["evalute", "runs/a", "--split", "val"], "evaluate runs/a --split val"),
        (["confg", "show"], "config show"),
    ],
)
def test_what_is_typed_instead_of_a_command(answer: Callable[..., str], words: list[str], instead: str) -> None:
    line = answer(*words)

    assert line == f"there is no command {words[0]}; type: classifier-training {instead}"
    check_accepted(line)


def test_a_command_like_no_other_is_answered_with_all(answer: Callable[..., str]) -> None:
    assert answer("xyz") == (
        "there is no command xyz; the commands are train, evaluate, predict, serve, export, report, compare, prepare,"
        " config, cache, demo"
    )
    assert answer("config", "shwo") == "there is no command shwo; type: classifier-training config show"
    assert answer("-q", "train", "photos") == (
        "options come after the command; type: classifier-training train photos -q"
    )


@pytest.mark.parametrize("name", sorted({*SETTINGS, *SWITCHES, *DEVICES, *PHOTOS} - {"output"} | {"output-dir"}))
def test_every_flag_is_answered_with_words_that_are_accepted(answer: Callable[..., str], name: str) -> None:
    flag = f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"
    option = option_table().get(SETTINGS.get(name, ""))
    kinds = {"int": "14", "float": "0.5", "bool": "true", "text": "some-name"}
    value = "1" if option is None else option.choices[0] if option.choices else kinds[option.type.split(" ")[0]]

    line = answer("train", "photos", flag, *([value] if takes_value(name) else []))

    assert line.startswith(f"there is no option {flag}; type: ")
    assert "photos" in check_accepted(line)
    assert line == answer("train", "photos", f"{flag}={value}") or not takes_value(name)


@pytest.mark.parametrize(
    ("words", "flags", "instead"),
    [
        ("train photos --epochs 5", "--epochs", "train photos trainer.max_epochs=5"),
        ("train photos --epochs=5", "--epochs", "train photos trainer.max_epochs=5"),
        ("train --epochs 5 photos", "--epochs", "train photos trainer.max_epochs=5"),
        ("train --epochs 5", "--epochs", "train PHOTOS trainer.max_epochs=5"),
        ("train --resume runs/a --epochs 9", "--epochs", "train --resume runs/a trainer.max_epochs=9"),
        ("train photos --batch-size 16 -q", "--batch-size", "train photos -q data.batch_size=16"),
        ("train photos -b 16", "-b", "train photos data.batch_size=16"),
        ("train photos --imgsz 96", "--imgsz", "train photos data.image_size=96"),
        ("train photos --img-size 96", "--img-size", "train photos data.image_size=96"),
        ("train photos --image-size 96", "--image-size", "train photos data.image_size=96"),
        ("train photos --lr 1e-3", "--lr", "train photos optimizer.lr=1e-3"),
        ("train photos --device cpu", "--device", "train photos trainer.accelerator=cpu"),
        ("train photos --model resnet50", "--model", "train photos model=resnet50"),
        ("train photos --model resnet101", "--model", "train photos model.name=resnet101"),
        ("train --data photos", "--data", "train photos"),
        ("train --data-dir 'my photos'", "--data-dir", "train 'my photos'"),
        ("train photos --name a --project b", "--name, --project", "train photos run.name=a run.dir=b"),
        ("train photos --output b", "--output", "train photos run.dir=b"),
        ("train --pretrained photos", "--pretrained", "train photos model.pretrained=true"),
        ("train photos --workers 4 --seed 3", "--workers, --seed", "train photos data.num_workers=4 seed=3"),
        ("train photos --weights a.pth", "--weights", "train photos model.weights=a.pth"),
        ("train photos --amp", "--amp", "train photos trainer.precision=auto"),
        ("train photos --opt SGD", "--opt", "train photos optimizer.name=sgd"),
        ("train photos --trainer.max_epochs 5", "--trainer.max_epochs", "train photos trainer.max_epochs=5"),
        ("train photos loss.name=bce --lr 1", "--lr", "train photos loss.name=bce optimizer.lr=1"),
        (
            "evaluate --batch-size 8 runs/a --data photos",
            "--batch-size, --data",
            "evaluate runs/a photos data.batch_size=8",
        ),
        ("evaluate --model runs/a", "--model", "evaluate runs/a"),
        ("predict --source photos --model runs/a", "--source, --model", "predict runs/a photos"),
        ("export --weights runs/a --opset 17", "--weights, --opset", "export runs/a export.opset_version=17"),
        ("demo --epochs 3", "--epochs", "demo trainer.max_epochs=3"),
        ("config show --epochs 3", "--epochs", "config show trainer.max_epochs=3"),
    ],
)
def test_what_is_typed_instead_of_a_flag(answer: Callable[..., str], words: str, flags: str, instead: str) -> None:
    line = answer(*shlex.split(words))

    assert line == f"there is no option {flags}; type: classifier-training {instead}"
    check_accepted(line)


def test_devices_are_chosen_before_the_command(answer: Callable[..., str]) -> None:
    assert answer("train", "photos", "--device", "0,1") == (
        "there is no option --device; type: CUDA_VISIBLE_DEVICES=0,1 classifier-training train photos"
        " trainer.accelerator=gpu trainer.devices=2"
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("train photos --resmue", "there is no option --resmue; did you mean --resume?"),
        ("evaluate runs/a --out b", "there is no option --out; did you mean --output?"),
        ("predict runs/a photos --device cpu", f"there is no option --device; predict takes {PREDICT_TAKES}"),
        ("demo --xyz", f"there is no option --xyz; demo takes {DEMO_TAKES}"),
        (
            "train photos --epochs ten",
            f"there is no option --epochs; settings are key=value: {TEN_EPOCHS}",
        ),
        ("predict runs/a", "missing argument 'IMAGES'; type: classifier-training predict RUN IMAGES"),
        ("evaluate", "missing argument 'RUN'; type: classifier-training evaluate RUN"),
        ("prepare photos", "missing option '--to'; type: classifier-training prepare PHOTOS --to FOLDER"),
        ("evaluate runs/a --split all", f"{ALL_SPLITS}; see classifier-training evaluate --help"),
    ],
)
def test_other_mistakes_in_the_arguments(answer: Callable[..., str], words: str, line: str) -> None:
    assert answer(*shlex.split(words)) == line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train", "", "--epochs", "5"], "train PHOTOS trainer.max_epochs=5"),  # as from an empty variable
        (["train", "--resume", "--epochs", "5"], "train --resume trainer.max_epochs=5"),
        (["train", "--resume", "runs/a", "--data", "photos"], "train --resume runs/a"),
        (["train", "photos", "--data-path", "other"], "train photos"),
        (["train", "--config=c.yaml", "--epochs", "5"], "train --config=c.yaml trainer.max_epochs=5"),
        (["train", "photos", "--recipe", "finetune"], "train photos recipe=finetune"),
        (["--epochs", "5", "train", "photos"], "train photos trainer.max_epochs=5"),
    ],
)
def test_the_suggestion_has_each_path_once(answer: Callable[..., str], words: list[str], line: str) -> None:
    assert answer(*words).endswith(f"; type: classifier-training {line}")


def test_export_is_not_given_settings_that_it_refuses(answer: Callable[..., str]) -> None:
    assert "there is no option --imgsz; export takes --format" in answer("export", "runs/a", "--imgsz", "64")
