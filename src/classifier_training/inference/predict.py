"""`predict`: what is on these images? Needs numpy, Pillow and onnxruntime only."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from classifier_training.errors import BadImageError, DataError, RunError, UserError
from classifier_training.files.atomic import write_text
from classifier_training.files.hidden import is_skipped, leads_up, skipped_notice
from classifier_training.files.tables import as_text_in_spreadsheets, write_table
from classifier_training.files.text import did_you_mean, exists, is_folder, name_some, special_kind
from classifier_training.imaging.decode import IMAGE_EXTENSIONS, ImageSource
from classifier_training.imaging.ignored import describe_ignored
from classifier_training.imaging.views import check_tta
from classifier_training.inference.classifier import OnnxClassifier
from classifier_training.run.folder import open_run
from classifier_training.types import OnBadImage, Prediction, TestTimeAugmentation

AnyImage = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any]
"""A file or folder, the bytes of an image file, a PIL image, or an array as `OnnxClassifier.predict_images` takes."""
_ALLOWED: Final = "give a path, a PIL image, an array (uint8 or uint16), the bytes of an image file, or a list of these"
_logger = logging.getLogger(__name__)


def predict(
    model: str | os.PathLike[str],
    images: AnyImage | Iterable[AnyImage],
    *,
    batch_size: int = 32,
    on_bad_image: OnBadImage = "raise",
    on_skip: Callable[[str, BadImageError], None] | None = None,
    tta: TestTimeAugmentation = "none",
) -> list[Prediction]:
    """Predicts the class of images with an exported model.

    Args:
        model: A run folder (its ``export/model.onnx``) or an ``.onnx`` file.
        images: Image files, folders of them, bytes of image files, PIL images, arrays, or a list of any of these. An
            array is uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint16 (H, W), or has one more dimension in front
            for several images. All are decoded alike: EXIF orientation, transparency and depth are handled.
        batch_size: Images per run of the model.
        on_bad_image: ``raise`` stops at a file that is not an image; ``skip`` leaves it out.
        on_skip: Called with the path and the error of a file left out; None logs a warning.
        tta: Test-time augmentation: ``flip`` takes the mean probability of an image and of its mirror image, in twice
            the time, ``five`` that of its centre and its four corners, in five times the time.

    Returns:
        One prediction an image, in order.

    Raises:
        UserError: The model or an image cannot be used.

    Example:
        >>> predict("runs/shirts", ["shirt.jpg"])[0].label  # doctest: +SKIP
    """
    check_tta(tta)
    classifier, sources = open_predictor(model, images)
    return list(classifier.predict_files(sources, batch_size, on_bad_image, on_skip, tta))


def open_predictor(
    model: str | os.PathLike[str],
    images: AnyImage | Iterable[AnyImage],
    on_ignored: Callable[[str], None] = _logger.warning,
) -> tuple[OnnxClassifier, list[ImageSource]]:
    """The classifier of a run or an ONNX file, and the images that were named; arguments as of `find_images`."""
    classifier, given = OnnxClassifier(_onnx_file(Path(model))), _listed(images)
    found: list[ImageSource] = []
    for source in given:
        found += _images_at(source, on_ignored) if isinstance(source, Path) else [source]
    _check_found(found, [source for source in given if isinstance(source, Path)])
    return classifier, found


def _listed(images: AnyImage | Iterable[AnyImage]) -> list[ImageSource]:
    """The images one by one; paths as `Path`.

    Raises:
        DataError: One is of a type that is not an image.
    """
    is_one = isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image)
    is_one = is_one or (isinstance(images, np.ndarray) and images.ndim in {2, 3})
    if not is_one and not isinstance(images, Iterable):
        raise DataError(f"images={images!r:.80} is not an image: {_ALLOWED}")
    given: list[Any] = [images] if is_one else list(cast("Iterable[Any]", images))
    listed: list[ImageSource] = []
    for position, image in enumerate(given):
        if isinstance(image, str | os.PathLike):
            listed.append(Path(image))
        elif isinstance(image, bytes | bytearray | memoryview):
            listed.append(bytes(image))
        elif isinstance(image, Image.Image | np.ndarray):
            listed.append(image)
        else:
            raise DataError(f"images[{position}]={image!r:.80} is not an image: {_ALLOWED}")
    return listed


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
    special = special_kind(path)
    if special is not None:
        raise UserError(f"--output {path}: {special}; name another file")
    if is_folder(path):
        raise UserError(f"--output {path}: this is a folder; name a file in it")


def write_predictions(
    path: Path,
    predictions: Sequence[Prediction],
    classes: Sequence[str],
    *,
    safe_csv: bool = False,
    tta: TestTimeAugmentation = "none",
) -> None:
    """Writes predictions atomically.

    A ``.csv`` file has the columns file, label and probability, a ``.jsonl`` file also the probability of every class.
    Where there was test-time augmentation, each row names it as ``tta``.

    Args:
        path: The file.
        predictions: The predictions.
        classes: The class names, in class order.
        safe_csv: Put an apostrophe before names that a spreadsheet would take for a formula.
        tta: The test-time augmentation of the predictions.
    """
    augmented = {} if tta == "none" else {"tta": tta}
    if path.suffix == ".csv":
        rows = ([*row, *augmented.values()] for row in table_rows(predictions))
        if safe_csv:
            rows = ([as_text_in_spreadsheets(cell) for cell in row] for row in rows)
        write_table(path, ["file", "label", "probability", *augmented], rows)
        return
    lines = []
    for prediction in predictions:
        row = {
            "file": prediction.file,
            "label": prediction.label,
            "probability": prediction.probability,
            **augmented,
            "probabilities": dict(zip(classes, prediction.probabilities, strict=True)),
        }
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def _onnx_file(path: Path) -> Path:
    if path.suffix == ".ckpt":
        raise RunError(
            f"{path} is a checkpoint; predict with its run folder, or with the .onnx file that export writes"
        )
    if not exists(path):
        raise RunError(f"there is no {path}; name a run folder or an .onnx file{did_you_mean(path)}")
    if not path.is_dir():
        return path
    onnx = open_run(path).onnx
    if not onnx.is_file():
        raise RunError(f"{path} has no export/model.onnx; create it: classifier-training export {path}")
    return onnx


def find_images(paths: Iterable[str | Path], on_ignored: Callable[[str], None] = _logger.warning) -> list[Path]:
    """Lists the images in files and folders, in the order given.

    A file is taken with any name; a folder is searched with all its subfolders for files with an image's
    extension, in sorted order. What is hidden, or left behind by a system such as ``@eaDir``, is passed over.

    Args:
        paths: Files and folders.
        on_ignored: Called with a warning about files in a folder that are not read.

    Raises:
        DataError: One does not exist, or none of them has an image.
    """
    sources = [Path(path) for path in paths]
    found = [image for source in sources for image in _images_at(source, on_ignored)]
    _check_found(found, sources)
    return found


def _check_found(found: Sequence[object], sources: Sequence[Path]) -> None:
    if found:
        return
    if not sources:
        raise DataError("no image was named; name image files, or folders of them")
    extensions = ", ".join(sorted(IMAGE_EXTENSIONS))
    raise DataError(f"no images in {name_some(map(str, sources))}; searched for files that end in {extensions}")


def _images_at(source: Path, on_ignored: Callable[[str], None]) -> list[Path]:
    """The file itself, or the images below the folder."""
    if not exists(source):
        raise DataError(f"no such file or folder: {source}{did_you_mean(source)}")
    if not source.is_dir():
        return [source]
    images, others, skipped = _files_below(source)
    if others:
        on_ignored(describe_ignored(str(source), others))
    for notice in skipped_notice(str(source), skipped):
        on_ignored(notice)
    return sorted(images)


def _files_below(folder: Path) -> tuple[list[Path], Counter[str], list[str]]:
    """The images below a folder, how many other files there are of each extension, and names that are passed over."""
    images, others, skipped = list[Path](), Counter[str](), list[str]()
    # Folders of photos are often links to other disks; a link back to a parent must not be walked for ever.
    visited: set[str] = set()
    for parent, names, files in os.walk(folder, followlinks=True, onerror=_refuse_unreadable):
        real = os.path.realpath(parent)
        if real in visited:
            names.clear()
            continue
        visited.add(real)
        skipped += filter(is_skipped, names + files)
        names[:] = sorted(
            name for name in names if not is_skipped(name) and not leads_up(str(Path(parent, name)), str(folder))
        )
        for name in files:
            extension = Path(name).suffix.lower()
            if is_skipped(name):
                continue
            if extension in IMAGE_EXTENSIONS:
                images.append(Path(parent, name))
            else:
                others[extension or "no extension"] += 1
    return images, others, skipped


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise DataError(f"cannot read the folder {error.filename}: {error.strerror}") from None
