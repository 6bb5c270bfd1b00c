"""The command ``predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier_training.cli.arguments import Quiet, TtaOption
from classifier_training.errors import ConfigError
from classifier_training.types import OnBadImage

Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write a .csv or .jsonl file, print no table.", metavar="FILE")
]
SafeCsv = Annotated[
    bool, typer.Option("--safe-csv", help="Put ' before names that a spreadsheet would take for a formula.")
]


def predict(
    model: Annotated[str, typer.Argument(help="Run folder or .onnx file.", metavar="RUN")],
    images: Annotated[list[str], typer.Argument(help="Image files, or folders of images.", metavar="IMAGES...")],
    output: Output = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 32,
    on_bad_image: Annotated[OnBadImage, typer.Option(help="What to do about a file that is not an image.")] = "raise",
    safe_csv: SafeCsv = False,
    tta: TtaOption = "none",
    quiet: Quiet = False,
) -> None:
    """Predict the classes of images with an exported model.

    Examples:
      classifier-training predict runs/shirts new-photos
      classifier-training predict runs/shirts new-photos -o predictions.csv
    """
    from classifier_training.imaging.views import describe_tta
    from classifier_training.inference.predict import open_predictor, table_rows, write_predictions
    from classifier_training.terminal.terminal import Terminal

    terminal = Terminal(quiet=quiet)
    _check_output(output, safe_csv=safe_csv)
    classifier, sources = open_predictor(model, images, terminal.warn)
    predictions = []
    with terminal.progress("predicting", "images") as progress:
        for prediction in classifier.predict_files(
            sources, batch_size, on_bad_image, lambda _, error: terminal.warn(f"left out: {error}"), tta
        ):
            predictions.append(prediction)
            progress(len(predictions), len(sources))
    if output is None:  # the table is the result, so it is printed even with --quiet
        Terminal().table(
            f"predictions{describe_tta(tta)}", ["file", "label", "probability"], list(table_rows(predictions))
        )
    else:
        write_predictions(output, predictions, classifier.classes, safe_csv=safe_csv, tta=tta)
        written = f"{len(predictions)} of {len(sources)} predictions written to {output}"
        terminal.result(f"{written}{describe_tta(tta)}")


def _check_output(output: Path | None, *, safe_csv: bool) -> None:
    from classifier_training.inference.predict import check_output

    if output is not None:
        check_output(output)
    if safe_csv and (output is None or output.suffix != ".csv"):
        raise ConfigError("--safe-csv is for a CSV file; add --output FILE.csv")
