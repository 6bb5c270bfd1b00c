"""The command ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier_training.cli.arguments import Quiet, Settings, read_settings


def demo(
    settings: Settings = None,
    folder: Annotated[Path, typer.Option(help="Folder to write the digits to.", metavar="FOLDER")] = Path("demo-data"),
    quiet: Quiet = False,
) -> None:
    """Train on scikit-learn's handwritten digits: no download, a few minutes on a CPU.

    Examples:
      classifier-training demo
      classifier-training demo trainer.max_epochs=3 run.name=digits
    """
    from classifier_training.config.arguments import read_overrides
    from classifier_training.config.training import load_training
    from classifier_training.data.demo import DEMO_SETTINGS, write_digits

    overrides = read_overrides(DEMO_SETTINGS, read_settings(settings))
    load_training(overrides)  # mistakes first
    from classifier_training.training.train import train as run_training

    run_training(write_digits(folder / "digits"), overrides, quiet=quiet)
