"""The command ``predict``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from classifier_training.cli.arguments import Labels, PreprocessingText, Quiet, TtaOption
from classifier_training.cli.predict_outputs import Outputs
from classifier_training.errors import ConfigError, UndoError
from classifier_training.files.tables import format_rows
from classifier_training.types import ImageRecord, OnBadFile, RowsFormat, TestTimeAugmentation

if TYPE_CHECKING:
    from classifier_training.inference.classifier import Classifier
    from classifier_training.inference.destination import Destination
    from classifier_training.inference.job import Job, Summary
    from classifier_training.inference.listing import Image
    from classifier_training.inference.rows import Row, RowFormat
    from classifier_training.terminal.terminal import Terminal

Model = Annotated[
    str | None, typer.Argument(help="Run folder, or .onnx, .xml or .ckpt file.", metavar="RUN", show_default=False)
]
Images = Annotated[
    list[str] | None,
    typer.Argument(
        help="Image files, folders of images, patterns, addresses; - reads a list from standard input.",
        metavar="IMAGES...",
        show_default=False,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write a .csv, .jsonl or .parquet file, print no table.", metavar="FILE"),
]
Kind = Annotated[
    RowsFormat | None, typer.Option("--format", help="Format of the output; without --output, of what is printed.")
]
TopK = Annotated[int | None, typer.Option(min=1, help="Write the K most probable classes.", metavar="K")]
Threshold = Annotated[
    float | None, typer.Option(min=0, max=1, help="Below this probability a prediction abstains.", metavar="P")
]
Features = Annotated[
    Path | None, typer.Option(help="Write what the last layer gets, to a .npy or .parquet file.", metavar="FILE")
]
CopyTo = Annotated[Path | None, typer.Option(help="Copy the files into a folder for each class in DIR.", metavar="DIR")]
MoveTo = Annotated[Path | None, typer.Option(help="Move the files into a folder for each class in DIR.", metavar="DIR")]
Undo = Annotated[
    Path | None, typer.Option(help="Undo --copy-to or --move-to by its log; takes nothing else.", metavar="LOG")
]
OnBadImage = Annotated[
    OnBadFile,
    typer.Option(help="A file that is not an image: write a row with its error, leave it out, or stop there."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")]
SafeCsv = Annotated[
    bool, typer.Option("--safe-csv", help="Put ' before names that a spreadsheet would take for a formula.")
]
_ROWS_OF_A_TABLE: Final = 1_000
_MOST_NAMED: Final = 10
_MISSING: Final = "missing argument '{}'; type: classifier-training predict RUN IMAGES"


def predict(
    model: Model = None,
    images: Images = None,
    output: Output = None,
    kind: Kind = None,
    top_k: TopK = None,
    threshold: Threshold = None,
    features: Features = None,
    copy_to: CopyTo = None,
    move_to: MoveTo = None,
    undo: Undo = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.")] = 4,
    on_bad_image: OnBadImage = "row",
    overwrite: Overwrite = False,
    safe_csv: SafeCsv = False,
    labels: Labels = None,
    preprocessing: PreprocessingText = None,
    tta: TtaOption = "none",
    quiet: Quiet = False,
) -> None:
    """Predict the classes of images. Exit code 1: some could not be read, and their rows have the error.

    Examples:
      classifier-training predict runs/shirts new-photos
      classifier-training predict runs/shirts new-photos -o predictions.csv
    """
    from classifier_training.inference.job import Job
    from classifier_training.terminal.terminal import Terminal

    wanted = Outputs(output, kind, features, copy_to, move_to, overwrite)
    terminal = Terminal(quiet=quiet, to_stderr=wanted.is_printed_for_programs)
    if undo is not None:
        _undo(undo, terminal, is_alone=not (model or images) and wanted == Outputs())
        return
    if model is None or not images:
        raise ConfigError(_MISSING.format("IMAGES" if model else "RUN"))
    wanted.check(safe_csv=safe_csv, tta=tta)
    classifier = _open_model(model, labels, preprocessing)
    form = _form(classifier, wanted, top_k, threshold, tta, safe_csv, on_bad_image == "row")
    _run(Job(classifier, form, terminal.warn, batch_size, on_bad_image, wanted.further), images, wanted, terminal)


def _run(job: Job, images: list[str], wanted: Outputs, terminal: Terminal) -> None:
    """Predicts the images that were named, writes or prints the rows, and says how it went."""
    from classifier_training.inference.listing import STANDARD_INPUT, ImageCount, named_images, outside

    destination, count = wanted.destination(job.classifier), ImageCount(images)
    listed = sys.stdin.buffer if STANDARD_INPUT in images else None
    found = named_images(images, terminal.warn, open_address=_open_address, standard_input=listed)
    if wanted.copy_to is not None:  # the copies of an earlier command may lie in a folder that was named
        found = outside(found, wanted.copy_to, terminal.warn)
    with terminal.progress("predicting", "images") as progress:
        if destination.is_there:
            summary = destination.run(job, found, lambda done: progress(done, count.total), terminal.info)
        else:
            summary = _print_rows(job, found, wanted.kind, lambda done: progress(done, count.total))
    _tell(summary, destination, job.form, terminal)
    summary.check(job.on_bad_file)


def _open_model(model: str, labels: Path | None, preprocessing: str | None) -> Classifier:
    from classifier_training.inference.classifier import Classifier
    from classifier_training.inference.foreign import read_description
    from classifier_training.inference.session import onnx_file

    description = read_description(labels, preprocessing)
    if model.endswith(".ckpt") and description is None:
        from classifier_training.models.checkpoint_classifier import CheckpointClassifier

        return CheckpointClassifier(model)
    return Classifier(onnx_file(Path(model)), description=description)


def _form(
    classifier: Classifier,
    wanted: Outputs,
    top_k: int | None,
    threshold: float | None,
    tta: TestTimeAugmentation,
    safe_csv: bool,
    has_errors: bool,
) -> RowFormat:
    """What rows hold; a threshold replaces that of the model."""
    from classifier_training.inference.decision import Decision
    from classifier_training.inference.rows import RowFormat
    from classifier_training.inference.session import UNKNOWN_SCORE

    decision = classifier.card.decision
    if threshold is not None:
        decision = replace(decision or Decision(num_images=1), abstain_threshold=threshold)
    has_score = tta == "none" and UNKNOWN_SCORE in classifier.further_outputs
    unknown = classifier.card.unknown if has_score else None
    return RowFormat(classifier.classes, top_k, decision, unknown, tta, has_errors, safe_csv, wanted.has_every_class)


def _open_address(address: str) -> Iterator[ImageRecord]:
    from classifier_training.data.sources.named_addresses import images_at

    return images_at(address)


def _print_rows(job: Job, images: Iterator[Image], kind: RowsFormat | None, progress: Callable[[int], None]) -> Summary:
    """Prints the rows as they come; without a format as tables, of many rows each."""
    from classifier_training.inference.job import Summary
    from classifier_training.inference.rows import Row

    summary, waiting = Summary(), list[Row]()
    if kind == "csv":
        sys.stdout.write(format_rows([job.form.columns]))
    for batch in job.outcomes(images, summary):
        waiting += filter(job.is_shown, map(job.form.row, batch))
        progress(summary.num_images)
        if kind is not None or len(waiting) >= _ROWS_OF_A_TABLE:
            _print(waiting, job.form, kind)
            waiting.clear()
    if waiting:
        _print(waiting, job.form, kind)
    return summary


def _print(rows: list[Row], form: RowFormat, kind: RowsFormat | None) -> None:
    from classifier_training.imaging.views import describe_tta
    from classifier_training.inference.rows import json_line
    from classifier_training.terminal.terminal import Terminal

    if kind == "jsonl":
        text = b"".join(map(json_line, rows)).decode()
    elif kind == "csv":
        text = format_rows(map(form.text_cells, rows))
    else:  # the table is the result, so it is printed even with --quiet
        shown = [name for name in form.columns if name != "error" or any(row["error"] for row in rows)]
        cells = [[str(cell) for cell in form.text_cells(row)][: len(shown)] for row in rows]
        Terminal().table(f"predictions{describe_tta(form.tta)}", shown, cells)
        return
    sys.stdout.write(text)
    sys.stdout.flush()


def _tell(summary: Summary, destination: Destination, form: RowFormat, terminal: Terminal) -> None:
    """What was written, and how to undo what was sorted."""
    from classifier_training.imaging.views import describe_tta

    num_predicted = summary.num_images - summary.num_bad
    if destination.output is not None:
        written = f"{num_predicted} of {summary.num_images} predictions written to {destination.output}"
        terminal.result(f"{written}{describe_tta(form.tta)}")
    if destination.features is not None:
        path, num_features = destination.features
        terminal.result(f"{num_features} features of each image written to {path}")
    if destination.sorter is not None:
        done = "copied" if destination.sorter.mode == "copy" else "moved"
        counts = ", ".join(f"{label} {count}" for label, count in summary.sorted.most_common(_MOST_NAMED))
        total = summary.sorted.total()
        rest = f"; {num_predicted - total} stay where they are" if total < num_predicted else ""
        terminal.result(f"{done} {total} files to {destination.sorter.root}{f' ({counts})' if counts else ''}{rest}")
        terminal.info(f"undo it with: classifier-training predict --undo {shlex.quote(str(summary.log))}")


def _undo(log: Path, terminal: Terminal, *, is_alone: bool) -> None:
    from classifier_training.inference.sorting import undo

    if not is_alone:
        raise ConfigError("--undo takes a log and nothing else; type: classifier-training predict --undo LOG")
    num_undone, num_left = undo(log, terminal.warn)
    terminal.result(f"{num_undone} files are where they were before")
    if num_left:
        raise UndoError(f"{num_left} files are left as they are, and so is {log}; see the warnings above")
