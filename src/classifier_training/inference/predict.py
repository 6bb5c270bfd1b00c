"""`predict`: what is on these images? Needs numpy, Pillow and onnxruntime only."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from classifier_training.errors import BadImageError, DataError, RunError, UserError
from classifier_training.files.atomic import write_text
from classifier_training.files.tables import write_table
from classifier_training.files.text import did_you_mean
from classifier_training.imaging.decode import IMAGE_EXTENSIONS
from classifier_training.inference.classifier import Classifier
from classifier_training.run.folder import open_run
from classifier_training.types import OnBadImage, Prediction

Images = str | os.PathLike[str]


def predict(
    model: str | os.PathLike[str],
    images: Images | Sequence[Images],
    *,
    batch_size: int = 32,
    on_bad_image: OnBadImage = "raise",
    on_skip: Callable[[str, BadImageError], None] | None = None,
) -> list[Prediction]:
    """Predicts the class of images with an exported model.

    Args:
        model: A run folder (its ``export/model.onnx``) or an ``.onnx`` file.
        images: Image files and folders of them.
        batch_size: Images per run of the model.
        on_bad_image: ``raise`` stops at a file that is not an image; ``skip`` leaves it out.
        on_skip: Called with the path and the error of a file left out; None logs a warning.

    Returns:
        One prediction an image, in order.

    Raises:
        UserError: The model or an image cannot be used.

    Example:
        >>> predict("runs/shirts", ["shirt.jpg"])[0].label  # doctest: +SKIP
    """
    classifier, paths = open_predictor(model, images)
    return list(classifier.predict_files(paths, batch_size, on_bad_image, on_skip))


def open_predictor(model: str | os.PathLike[str], images: Images | Sequence[Images]) -> tuple[Classifier, list[Path]]:
    """The classifier of a run or an ONNX file, and the image files that were named."""
    named = [images] if isinstance(images, str | os.PathLike) else list(images)
    return Classifier(_onnx_file(Path(model))), find_images([Path(image) for image in named])


def table_rows(predictions: Sequence[Prediction]) -> Iterator[list[str]]:
    """Predictions as rows of text: file, label, probability."""
    for prediction in predictions:
        yield [prediction.file or "", prediction.label, f"{prediction.probability:.6f}"]


def check_output(path: Path) -> None:
    """Refuses a file that `write_predictions` could not write, before any image is read.

    Raises:
        UserError: It is neither ``.csv`` nor ``.jsonl``, or its folder cannot be created.
    """
    if path.suffix not in {".csv", ".jsonl"}:
        raise UserError(f"--output {path}: allowed are a .csv or a .jsonl file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {path}: cannot create the folder {path.parent}: {error.strerror}") from None
    if path.is_dir():
        raise UserError(f"--output {path}: this is a folder; name a file in it")


def write_predictions(path: Path, predictions: Sequence[Prediction], classes: Sequence[str]) -> None:
    """Writes predictions atomically.

    A ``.csv`` file has the columns file, label and probability, a ``.jsonl`` file also the probability of every class.
    """
    if path.suffix == ".csv":
        write_table(path, ["file", "label", "probability"], table_rows(predictions))
        return
    lines = []
    for prediction in predictions:
        row = {
            "file": prediction.file,
            "label": prediction.label,
            "probability": prediction.probability,
            "probabilities": dict(zip(classes, prediction.probabilities, strict=True)),
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def _onnx_file(path: Path) -> Path:
    if path.suffix == ".ckpt":
        raise RunError(
            f"{path} is a checkpoint; predict with its run folder, or with the .onnx file that export writes"
        )
    if not path.exists():
        raise RunError(f"there is no {path}; name a run folder or an .onnx file{did_you_mean(path)}")
    if not path.is_dir():
        return path
    onnx = open_run(path).onnx
    if not onnx.is_file():
        raise RunError(f"{path} has no export/model.onnx; create it: classifier-training export {path}")
    return onnx


def find_images(paths: Iterable[str | Path]) -> list[Path]:
    """Lists the images in files and folders, in the order given.

    A file is taken with any name; a folder is searched with all its subfolders for files with an image's
    extension, in sorted order, hidden ones ignored.

    Raises:
        DataError: One does not exist, or none of them has an image.
    """
    sources = [Path(path) for path in paths]
    found: list[Path] = []
    for source in sources:
        if source.is_dir():
            found.extend(sorted(_images_below(source)))
        elif source.exists():
            found.append(source)
        else:
            raise DataError(f"no such file or folder: {source}{did_you_mean(source)}")
    if not found:
        if not sources:
            raise DataError("no image was named; name image files, or folders of them")
        extensions = ", ".join(sorted(IMAGE_EXTENSIONS))
        raise DataError(f"no images in {', '.join(map(str, sources))}; searched for files that end in {extensions}")
    return found


def _images_below(folder: Path) -> Iterator[Path]:
    # Folders of photos are often links to other disks; a link back to a parent must not be walked for ever.
    visited: set[str] = set()
    for parent, names, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            names.clear()
            continue
        visited.add(real)
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_EXTENSIONS:
                yield Path(parent, name)
