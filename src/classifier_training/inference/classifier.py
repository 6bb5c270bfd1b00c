"""Predicts with an exported model; needs numpy, Pillow and onnxruntime, nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import BadImageError, CheckpointError, explain_out_of_memory
from classifier_training.files.text import is_folder
from classifier_training.halving import Halving
from classifier_training.imaging.decode import ImageSource, is_in_memory
from classifier_training.imaging.views import check_tta, log_mean_probabilities
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.foreign import Description, as_logits, described_card, no_card
from classifier_training.inference.given import AnyImage, given_images
from classifier_training.inference.labels import read_labels_mapping
from classifier_training.inference.reading import Answer, Way, check_arguments, image_name, read_views, report_skip
from classifier_training.inference.rows import Outcome
from classifier_training.inference.session import (
    FURTHER_OUTPUTS,
    LOGITS,
    is_end_to_end,
    logits_name,
    onnx_file,
    open_session,
)
from classifier_training.inference.workers import chunks, in_order
from classifier_training.run.cgroup import usable_cpus
from classifier_training.run.folder import ExportFolder
from classifier_training.types import Decoding, OnBadImage, Prediction, Preprocessing, TestTimeAugmentation

BATCH_SIZE: Final = 4
"""Images per run of the model: with more, what a layer gives no longer fits into the cache of a core."""
_MOST_WORKERS: Final = 8
"""Threads that each take a batch from its files to its logits; on more cores they share the threads of onnxruntime."""


class Classifier:
    """An exported classifier, with its deployment card.

    The card is read from the file's metadata; a file without one gets classes and preprocessing from the
    ``labels_mapping.json`` in its folder.

    Args:
        path: The ``.onnx`` file, or a run folder: its ``export/model.onnx``.
        num_threads: Threads that decode images and run the model; None takes one per core.
        description: Class names and preprocessing of a file of another program, which says nothing of them.

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

            classifier = Classifier("runs/shirts")
            for prediction in classifier.predict(["shirt.jpg", "more-shirts"]):
                print(prediction.label, prediction.probability)
    """

    def __init__(
        self, path: str | os.PathLike[str], num_threads: int | None = None, description: Description | None = None
    ) -> None:
        self.path = onnx_file(Path(path)) if is_folder(path) else Path(path)
        num_threads = num_threads or usable_cpus()
        self._num_workers = min(num_threads, _MOST_WORKERS)
        self._session = open_session(self.path, num_threads)
        self._input = self._session.get_inputs()[0]
        self._takes_pixels = is_end_to_end(self._session)
        self._logits_name = logits_name(self._session)
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self._is_foreign = description is not None
        self.card = self._read_card(description)
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
        return self.calibrated_outputs(images)[LOGITS]

    def calibrated_outputs(
        self, images: NDArray[np.float32] | NDArray[np.uint8], further: Sequence[str] = ()
    ) -> dict[str, NDArray[np.float32]]:
        """`logits`, by that name, and some `further_outputs`; errors as there."""
        found = self.run(images, (LOGITS, *further))
        return found | {LOGITS: self._scaled(self._checked(found[LOGITS]))}

    def raw_logits(self, images: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `logits`, not divided by the temperature."""
        return self._checked(self.run(images, (LOGITS,))[LOGITS])

    def run(
        self, images: NDArray[np.float32] | NDArray[np.uint8], outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Runs the model on one batch and gives some of its outputs by their names, unchanged.

        Args:
            images: As of `logits`.
            outputs: ``logits``, and others that the file has, see `further_outputs`.
        """
        names = [self._logits_name if name == LOGITS else name for name in outputs]
        # a file of another program may take one image at a time
        parts = np.split(images, len(images)) if self._input.shape[0] == 1 and len(images) > 1 else [images]
        given = [self._session.run(names, {self._input.name: part}) for part in parts]
        values = given[0] if len(given) == 1 else [np.concatenate(one) for one in zip(*given, strict=True)]
        found = dict(zip(outputs, values, strict=True))
        return found | {LOGITS: as_logits(found[LOGITS])} if self._is_foreign and LOGITS in found else found

    @property
    def further_outputs(self) -> dict[str, int | None]:
        """What `run` gives for an image besides logits, and how many numbers that is; None: one, or not known."""
        shapes = {one.name: one.shape[1:] for one in self._session.get_outputs() if one.name in FURTHER_OUTPUTS}
        return {name: shape[0] if shape and isinstance(shape[0], int) else None for name, shape in shapes.items()}

    def _scaled(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        temperature = self.card.temperature
        return logits if temperature is None else _divided(logits, temperature)

    def _checked(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        if not np.isfinite(logits).all():
            raise CheckpointError(
                f"{self.path} gives logits that are not finite numbers: its training diverged, or an input is"
                " not finite; use another model"
            )
        if logits.shape[1:] != (len(self.classes),):
            raise CheckpointError(f"{self.path} has {logits.shape[1]} outputs, but {len(self.classes)} class names")
        return logits

    def predict(
        self, images: AnyImage | Iterable[AnyImage], batch_size: int = BATCH_SIZE, tta: TestTimeAugmentation = "none"
    ) -> list[Prediction]:
        """Predicts one image or many, of any kind; see `inference.predict.predict`.

        Args:
            images: Image files, folders of them, bytes of image files, PIL images, arrays, or a list of any of these.
            batch_size: Images per run of the model.
            tta: As of `predict_files`.

        Returns:
            One prediction an image, in order.

        Raises:
            UserError: There is no image, or one cannot be read.
        """
        return list(self.predict_files(given_images(images), batch_size, tta=tta))

    def predict_images(
        self, images: Sequence[ImageSource], batch_size: int = BATCH_SIZE, tta: TestTimeAugmentation = "none"
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
        batch_size: int = BATCH_SIZE,
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

    def outcomes(
        self,
        images: Iterable[ImageSource],
        batch_size: int = BATCH_SIZE,
        tta: TestTimeAugmentation = "none",
        further: tuple[str, ...] = (),
    ) -> Iterator[list[Outcome]]:
        """Predicts images, in order, batch by batch, of which only some are in memory; arguments as `predict_files`.

        ``further`` names `further_outputs` that each outcome is to hold.

        Yields:
            What came of each image of a batch; one that cannot be read has an error.
        """
        check_arguments(batch_size, "skip")
        way = Way(self.preprocessing, tta, further=further)
        with explain_out_of_memory(f"predicting with {self.path}", f"lower the batch size (now {batch_size})"):
            for answer in self._answers(images, batch_size, way):
                good = (
                    dict(zip(answer.outputs, one, strict=True)) for one in zip(*answer.outputs.values(), strict=True)
                )
                yield [
                    Outcome(name, None, str(answer.errors[place]))
                    if place in answer.errors
                    else self._outcome(name, next(good))
                    for place, name in enumerate(answer.names)
                ]

    def _outcome(self, name: str, outputs: dict[str, NDArray[np.float32]]) -> Outcome:
        return Outcome(name, self._prediction(outputs.pop(LOGITS), name), further=outputs)

    def logits_of_files(
        self,
        paths: Sequence[ImageSource],
        batch_size: int = BATCH_SIZE,
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
        way = Way(self._decoded_as(decoding), tta, raw)
        for positions, outputs in self._outputs_of_files(paths, batch_size, on_bad_image, on_skip, way):
            yield positions, outputs[LOGITS]

    def outputs_of_files(
        self, paths: Sequence[ImageSource], batch_size: int, decoding: Decoding | None, further: tuple[str, ...]
    ) -> Iterator[tuple[list[int], dict[str, NDArray[np.float32]]]]:
        """As `logits_of_files` with ``raw``, with `further_outputs` by their names besides the logits."""
        way = Way(self._decoded_as(decoding), raw=True, further=further)
        yield from self._outputs_of_files(paths, batch_size, "raise", None, way)

    def _decoded_as(self, decoding: Decoding | None) -> Preprocessing:
        return self.preprocessing if decoding is None else self.preprocessing.decoded_as(decoding)

    def _outputs_of_files(
        self,
        paths: Sequence[ImageSource],
        batch_size: int,
        on_bad_image: OnBadImage,
        on_skip: Callable[[str, BadImageError], None] | None,
        way: Way,
    ) -> Iterator[tuple[list[int], dict[str, NDArray[np.float32]]]]:
        check_arguments(batch_size, on_bad_image)
        start = 0
        for answer in self._answers(paths, batch_size, way):
            for place, error in answer.errors.items():
                if on_bad_image == "raise":
                    raise error
                report_skip(error, answer.names[place], on_skip)
            good = [start + place for place in range(len(answer.names)) if place not in answer.errors]
            if good:
                yield good, answer.outputs
            start += len(answer.names)

    def _answers(self, images: Iterable[ImageSource], batch_size: int, way: Way) -> Iterator[Answer]:
        """What the model gives for images, batch by batch; threads decode some while the model runs on others."""
        check_tta(way.tta)
        if self._takes_pixels and way.tta != "none":
            raise CheckpointError(
                f"{self.path} of the form end-to-end crops the centre itself, so there is no --tta {way.tta}; name the"
                " model.onnx of the run"
            )
        yield from in_order(partial(self._answer, way), chunks(enumerate(images), batch_size), self._num_workers)

    def _answer(self, way: Way, images: Sequence[tuple[int, ImageSource]]) -> Answer:
        """Decodes a batch of images, each with its position for messages, and runs the model on it."""
        names = [image_name(image, position) for position, image in images]
        tta = None if self._takes_pixels else way.tta
        views = [
            read_views(image, name, way.preprocessing, tta) for (_, image), name in zip(images, names, strict=True)
        ]
        errors = {place: one for place, one in enumerate(views) if isinstance(one, BadImageError)}
        good = [one for one in views if not isinstance(one, BadImageError)]
        # images of several sizes go into the graph one by one
        batches = [[one] for one in good] if self._takes_pixels else [good] if good else []
        parts = [part for batch in batches for part in self._outputs_of(batch, way)]
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
        return Answer(names, errors, outputs)

    def _outputs_of(self, batch: Sequence[Sequence[NDArray[Any]]], way: Way) -> list[dict[str, NDArray[np.float32]]]:
        """Outputs of N images with V views each, in parts; one run of the model a view. Only logits are averaged."""

        def compute(part: slice) -> dict[str, NDArray[np.float32]]:
            views = [np.stack(view) for view in zip(*batch[part], strict=True)]
            first = self.run(views[0], (LOGITS, *way.further))
            raw = [first[LOGITS], *(self.run(view, (LOGITS,))[LOGITS] for view in views[1:])]
            logits = [self._checked(one) if way.raw else self._scaled(self._checked(one)) for one in raw]
            return first | {LOGITS: log_mean_probabilities(logits)}

        return self._halving(compute, len(batch))

    def _read_card(self, description: Description | None) -> DeploymentCard:
        card = DeploymentCard.from_metadata(self.metadata, str(self.path))
        if description is not None:
            return described_card(description, card, self.path, self._input.shape[2])
        if card is not None:
            return card
        mapping = ExportFolder(self.path.parent).labels_mapping
        if not mapping.is_file():
            raise no_card(self.path, mapping.name)
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


OnnxClassifier = Classifier
"""The older name."""


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
