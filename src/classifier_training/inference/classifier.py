"""Predicts with an exported model; needs numpy, Pillow and onnxruntime, nothing else."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import BadImageError, CheckpointError, explain_out_of_memory
from classifier_training.halving import Halving
from classifier_training.imaging.decode import ImageSource, decode_image, is_in_memory
from classifier_training.imaging.preprocess import normalize
from classifier_training.imaging.views import check_tta, log_mean_probabilities, make_views
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.labels import read_labels_mapping
from classifier_training.inference.session import is_end_to_end, logits_name, open_session
from classifier_training.run.folder import ExportFolder
from classifier_training.types import NUM_VIEWS, Decoding, OnBadImage, Prediction, Preprocessing, TestTimeAugmentation

# Pillow lets go of the interpreter while it decodes and resizes; more threads would only take the model's cores.
_MAX_THREADS = 4
_logger = logging.getLogger(__name__)


class OnnxClassifier:
    """An exported classifier, with its deployment card.

    The card is read from the file's metadata; a file without one gets classes and preprocessing from the
    ``labels_mapping.json`` in its folder.

    Args:
        path: The ``.onnx`` file.
        num_threads: Threads of onnxruntime; None takes one per core.

    Attributes:
        path: The file.
        card: What travels inside the file.
        classes: K class names, in the order of the logits.
        preprocessing: How an image becomes the input.
        metadata: Every entry of the file's metadata.

    Raises:
        CheckpointError: The file is missing, truncated or foreign, or its classes are not known.

    Example:
        .. code-block:: python

            classifier = OnnxClassifier("export/model.onnx")
            for prediction in classifier.predict_files(["shirt.jpg"]):
                print(prediction.label, prediction.probability)
    """

    def __init__(self, path: str | Path, num_threads: int | None = None) -> None:
        self.path = Path(path)
        self._session = open_session(self.path, num_threads)
        self._input = self._session.get_inputs()[0]
        self._takes_pixels = is_end_to_end(self._session)
        self._logits_name = logits_name(self._session)
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.card = self._read_card()
        self.classes: tuple[str, ...] = self.card.classes
        self.preprocessing: Preprocessing = self.card.preprocessing
        self._halving = Halving("predicting")
        self._check_card()

    def logits(self, images: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs the model on one batch.

        Args:
            images: float32 (N, 3, S, S), prepared with `preprocessing`; for a file of the form ``end-to-end`` uint8
                (N, H, W, 3), RGB, of any size.

        Returns:
            float32 (N, K), divided by the temperature of the card if it has one, which changes no predicted class.

        Raises:
            CheckpointError: They are not finite numbers.
        """
        temperature, logits = self.card.temperature, self.raw_logits(images)
        return logits if temperature is None else _divided(logits, temperature)

    def raw_logits(self, images: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `logits`, not divided by the temperature."""
        (logits,) = self._session.run([self._logits_name], {self._input.name: images})
        if not np.isfinite(logits).all():
            raise CheckpointError(
                f"{self.path} gives logits that are not finite numbers: its training diverged, or an input is"
                " not finite; use another model"
            )
        return cast("NDArray[np.float32]", logits)

    def predict_images(
        self, images: Sequence[ImageSource], batch_size: int = 32, tta: TestTimeAugmentation = "none"
    ) -> list[Prediction]:
        """Predicts images that are in memory, as `predict_files` does files.

        Args:
            images: PIL images, the bytes of image files, or arrays: uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4),
                or uint16 (H, W).
            batch_size: Images per run of the model.
            tta: As of `predict_files`.

        Raises:
            BadImageError: One cannot be read as an image.
        """
        return list(self.predict_files(images, batch_size, tta=tta))

    def predict_files(
        self,
        paths: Sequence[ImageSource],
        batch_size: int = 32,
        on_bad_image: OnBadImage = "raise",
        on_skip: Callable[[str, BadImageError], None] | None = None,
        tta: TestTimeAugmentation = "none",
    ) -> Iterator[Prediction]:
        """Predicts files, in order, decoding ahead of the model.

        Args:
            paths: Image files, records of them, or what `predict_images` takes.
            batch_size: Images per run of the model.
            on_bad_image: ``raise`` stops at a file that is not an image; ``skip`` yields nothing for it.
            on_skip: Called with the name and the error of a file left out; None logs a warning.
            tta: Test-time augmentation: probabilities are the mean over the views of an image, see
                `imaging.views.make_views`.

        Raises:
            BadImageError: A file is not an image and ``on_bad_image`` is ``raise``.
        """
        with explain_out_of_memory(f"predicting with {self.path}", f"lower the batch size (now {batch_size})"):
            for positions, logits in self.logits_of_files(paths, batch_size, on_bad_image, on_skip, tta=tta):
                for position, row in zip(positions, logits, strict=True):
                    source = paths[position]
                    yield self._prediction(row, None if is_in_memory(source) else str(source))

    def logits_of_files(
        self,
        paths: Sequence[ImageSource],
        batch_size: int = 32,
        on_bad_image: OnBadImage = "raise",
        on_skip: Callable[[str, BadImageError], None] | None = None,
        decoding: Decoding | None = None,
        tta: TestTimeAugmentation = "none",
        raw: bool = False,
    ) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Runs the model on files, in order, batch by batch; arguments and errors as `predict_files`.

        ``decoding`` replaces that of `preprocessing`; None: it stays. ``raw`` leaves the temperature out.

        Yields:
            The positions in ``paths`` of the n images of a batch, and their logits, float32 (n, K); with test-time
            augmentation the logarithm of their mean probabilities.
        """
        _check_arguments(batch_size, on_bad_image)
        check_tta(tta)
        if self._takes_pixels:
            batch_size = self._batch_size_of_pixels(tta)
        positions: list[int] = []
        batch: list[list[NDArray[Any]]] = []
        num_ahead = max(_MAX_THREADS, 2 * batch_size // NUM_VIEWS[tta])
        preprocessing = self.preprocessing if decoding is None else self.preprocessing.decoded_as(decoding)
        images = _read_ahead(paths, preprocessing, None if self._takes_pixels else tta, num_ahead)
        for position, image in enumerate(images):
            if isinstance(image, BadImageError):
                if on_bad_image == "raise":
                    raise image
                _skip(image, _name(paths[position], position), on_skip)
                continue
            positions.append(position)
            batch.append(image)
            if len(batch) == batch_size:
                yield positions, self._logits_of_views(batch, raw)
                positions, batch = [], []
        if batch:
            yield positions, self._logits_of_views(batch, raw)

    def _batch_size_of_pixels(self, tta: TestTimeAugmentation) -> int:
        """One, as images differ in size; refuses views that are not in the graph."""
        if tta != "none":
            raise CheckpointError(
                f"{self.path} of the form end-to-end crops the centre itself, so there is no --tta {tta}; name the"
                " model.onnx of the run"
            )
        return 1

    def _logits_of_views(self, batch: Sequence[Sequence[NDArray[Any]]], raw: bool) -> NDArray[np.float32]:
        """Logits, float32 (N, K), of N images with V views each, as `logits` takes; one run of the model a view."""
        run = self.raw_logits if raw else self.logits

        def logits(part: slice) -> NDArray[np.float32]:
            return log_mean_probabilities([run(np.stack(views)) for views in zip(*batch[part], strict=True)])

        parts = self._halving(logits, len(batch))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read_card(self) -> DeploymentCard:
        card = DeploymentCard.from_metadata(self.metadata, str(self.path))
        if card is not None:
            return card
        mapping = ExportFolder(self.path.parent).labels_mapping
        if not mapping.is_file():
            raise CheckpointError(
                f"{self.path} has no class names: there is no class_names in its metadata, and no {mapping.name} in its"
                " folder"
            )
        return read_labels_mapping(mapping)

    def _check_card(self) -> None:
        shapes = {one.name: one.shape for one in self._session.get_outputs()}
        num_classes = shapes[self._logits_name][1]
        if isinstance(num_classes, int) and num_classes != len(self.classes):
            raise CheckpointError(f"{self.path} has {num_classes} outputs, but {len(self.classes)} class names")
        size, sides = self.preprocessing.image_size, self._input.shape[2:]
        if not self._takes_pixels and any(isinstance(side, int) and side != size for side in sides):
            raise CheckpointError(
                f"{self.path} takes images of {sides[0]} x {sides[1]} pixels, but its preprocessing makes"
                f" {size} x {size}"
            )

    def _prediction(self, logits: NDArray[np.float32], file: str | None) -> Prediction:
        probabilities = softmax(logits)
        index = int(logits.argmax())
        return Prediction(
            label=self.classes[index],
            probability=float(probabilities[index]),
            index=index,
            probabilities=tuple(probabilities.tolist()),
            file=file,
        )


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities over the last axis, in float64.

    Args:
        logits: Float (…, K).

    Returns:
        float64 (…, K), each row sums to 1.
    """
    values = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True))
    return cast("NDArray[np.float64]", values / values.sum(axis=-1, keepdims=True))


def _divided(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Logits (N, K) by a temperature; where rounding makes the largest equal to an earlier one, it stays the larger."""
    divided = (logits / np.float32(temperature)).astype(np.float32, copy=False)
    first = logits.argmax(axis=1)
    (wrong,) = np.nonzero(divided.argmax(axis=1) != first)
    divided[wrong, first[wrong]] = np.nextafter(divided[wrong, first[wrong]], np.float32(np.inf))
    return divided


def _check_arguments(batch_size: int, on_bad_image: str) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}")
    if on_bad_image not in {"raise", "skip"}:
        raise ValueError(f"on_bad_image must be 'raise' or 'skip'; got {on_bad_image!r}")


def _read_ahead(
    paths: Sequence[ImageSource], preprocessing: Preprocessing, tta: TestTimeAugmentation | None, num_ahead: int
) -> Iterator[list[NDArray[Any]] | BadImageError]:
    """Yields the views of every image as the model's input, float32 (3, S, S), in order, or the error that it gave.

    Where ``tta`` is None, the one view is the decoded image, uint8 (H, W, 3).

    While the model is busy with the ones before, a few threads decode ``num_ahead`` images, which bounds the memory.
    """
    executor = ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="decode")
    waiting: deque[Future[list[NDArray[Any]] | BadImageError]] = deque()
    try:
        for position, path in enumerate(paths):
            waiting.append(executor.submit(_read, path, _name(path, position), preprocessing, tta))
            if len(waiting) > num_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _skip(error: BadImageError, name: str, on_skip: Callable[[str, BadImageError], None] | None) -> None:
    """Tells of an image that is left out."""
    if on_skip is None:
        _logger.warning("left out: %s", error)
    else:
        on_skip(name, error)


def _name(source: ImageSource, position: int) -> str:
    """What an error calls an image."""
    return f"images[{position}]" if is_in_memory(source) else str(source)


def _read(
    source: ImageSource, name: str, preprocessing: Preprocessing, tta: TestTimeAugmentation | None
) -> list[NDArray[Any]] | BadImageError:
    try:
        image = decode_image(source, name, decoding=preprocessing.decoding)
        if tta is None:
            return [image]
        return [normalize(view, preprocessing) for view in make_views(image, preprocessing, tta)]
    except BadImageError as error:
        return error
