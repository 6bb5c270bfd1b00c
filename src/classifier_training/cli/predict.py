"""The command ``predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier_training.cli.arguments import Quiet
from classifier_training.errors import ConfigError
from classifier_training.types import OnBadImage


def predict(
    model: Annotated[str, typer.Argument(help="Run folder or .onnx file.", metavar="RUN")],
    images: Annotated[list[str], typer.Argument(help="Image files, or folders of images.", metavar="IMAGES...")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write a .csv or .jsonl file, print no table.", metavar="FILE"),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 32,
    on_bad_image: Annotated[OnBadImage, typer.Option(help="What to do about a file that is not an image.")] = "raise",
    safe_csv: Annotated[
        bool, typer.Option("--safe-csv", help="Put ' before names that a spreadsheet would take for a formula.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Predict the classes of images with an exported model.

    Examples:
      classifier-training predict runs/shirts new-photos
      classifier-training predict runs/shirts new-photos -o predictions.csv
    """
    from classifier_training.inference.predict import check_output, open_predictor, table_rows, write_predictions
    from classifier_training.terminal.terminal import Terminal

    terminal = Terminal(quiet=quiet)
    if output is not None:
        check_output(output)
    _check_safe_csv(output, is_asked_for=safe_csv)
    classifier, sources = open_predictor(model, images, terminal.warn)
    predictions = []
    with terminal.progress("predicting", "images") as progress:
        for prediction in classifier.predict_files(
            sources, batch_size, on_bad_image, lambda _, error: terminal.warn(f"left out: {error}")
        ):
            predictions.append(prediction)
            progress(len(predictions), len(sources))
    if output is None:  # the table is the result, so it is printed even with --quiet
        Terminal().table("predictions", ["file", "label", "probability"], list(table_rows(predictions)))
    else:
        write_predictions(output, predictions, classifier.classes, safe_csv=safe_csv)
        terminal.result(f"{len(predictions)} of {len(sources)} predictions written to {output}")


def _check_safe_csv(output: Path | None, *, is_asked_for: bool) -> None:
    if is_asked_for and (output is None or output.suffix != ".csv"):
        raise ConfigError("--safe-csv is for a CSV file; add --output FILE.csv")
