"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from classifier_training.errors import ConfigError, printable
from classifier_training.files.text import exists, name_some
from classifier_training.types import TestTimeAugmentation

if TYPE_CHECKING:
    from classifier_training.config.overrides import Overrides

Settings = Annotated[
    list[str] | None, typer.Argument(help="Settings; `config options` lists them.", metavar="[KEY=VALUE]...")
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="YAML file with settings, such as a run's config.yaml.", metavar="FILE")
]
TtaOption = Annotated[
    TestTimeAugmentation,
    typer.Option("--tta", help="Average over views: flip (mirror image, 2 × the time) or five (corners, 5 ×)."),
]
Labels = Annotated[
    Path | None,
    typer.Option(help="Class names of an .onnx file of another program, a line each or JSON.", metavar="FILE"),
]
PreprocessingText = Annotated[
    str | None,
    typer.Option(help="Preprocessing of such a file: image_size, crop_pct, interpolation, mean, std.", metavar="JSON"),
]
TargetPrecision = Annotated[
    str | None,
    typer.Option(
        "--target-precision",
        help="Abstain below the confidence from which on this share of the answers is correct, on validation photos.",
        metavar="SHARE",
    ),
]
TargetCoverage = Annotated[
    str | None,
    typer.Option(
        "--target-coverage",
        help="Abstain below the confidence that this share of the validation photos reaches.",
        metavar="SHARE",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and results.")]


def split_arguments(arguments: list[str] | None, most: int = 1) -> tuple[list[str], list[str]]:
    """Separates paths and addresses from settings, which may come in any order.

    A setting contains ``=``, unless it is an address or the name of an existing file.

    Raises:
        ConfigError: There are more than ``most`` paths.
    """
    paths: list[str] = []
    settings: list[str] = []
    for argument in arguments or []:
        is_path = "=" not in argument or "://" in argument.partition("=")[0] or exists(argument)
        (paths if is_path else settings).append(argument)
    if len(paths) > most:
        expected = "one folder is expected" if most == 1 else f"at most {most} paths are expected"
        raise ConfigError(f"{expected}, got {len(paths)}: {name_some(map(printable, paths))}; settings are key=value")
    return paths, settings


def target_settings(precision: str | None, coverage: str | None) -> list[str]:
    """The settings that the options for abstaining are short for; one of them replaces the other in a file."""
    targets = {"precision": precision, "coverage": coverage}
    if precision is None and coverage is None:
        return []
    return [f"decision.target_{name}={'null' if value is None else value}" for name, value in targets.items()]


def read_settings(settings: list[str] | None) -> Overrides:
    """Settings as they were typed; what is wrong with them is reported when they are used."""
    from classifier_training.config.arguments import COMMAND_LINE, read_overrides

    return read_overrides(settings or (), origin=COMMAND_LINE)


def check_settings(overrides: Overrides, config: Path | None, photos: str | None, *, is_training: bool = False) -> None:
    """Reports mistakes in the settings and a missing source of photos before anything heavy is imported.

    Args:
        overrides: The settings.
        config: A file of settings; None: none.
        photos: The source of photos; None: it is in the settings.
        is_training: Whether the settings are to be such as a training can begin with.

    Raises:
        ConfigError: A setting is wrong, or the photos are not given or do not exist.
    """
    from classifier_training.config.arguments import COMMAND_LINE, read_overrides
    from classifier_training.config.compose import load_config
    from classifier_training.config.training import load_training
    from classifier_training.data.sources.address import why_no_photos

    given = read_overrides(overrides, photos=photos, origin=COMMAND_LINE)
    settings = load_training(given, file=config)[0] if is_training else load_config(given, file=config)
    root = settings.data.root
    if root is None:
        raise ConfigError(
            "no photos given; type: classifier-training train PHOTOS, where PHOTOS is a folder with one folder of"
            " images per class; or try the built-in example: classifier-training demo"
        )
    problem = why_no_photos(root)  # an address is checked later, when it is opened
    if problem is not None:
        raise ConfigError(printable(problem))
