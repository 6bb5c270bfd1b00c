"""Compares a file of the form ``end-to-end`` with the model, from the files of real images to labels."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image, ImageOps
from torch import nn

from classifier_training.errors import ExportError, first_line, is_out_of_memory
from classifier_training.exporters.acceptance import ANSWERS_ALIKE, Answers
from classifier_training.exporters.end_to_end_decision import OUTPUTS, decision_differences, defaults_of
from classifier_training.exporters.forms import ExportSettings, OriginalImage, ProofImages
from classifier_training.exporters.other_outputs import outputs_of
from classifier_training.exporters.proof import (
    BATCH_SIZES,
    NUM_IN_BATCHES,
    in_whole_batches,
    logits_of_model,
    reason_of_model,
    spread,
    summary,
    true_labels,
)
from classifier_training.exporters.stages import SAME, Difference, largest_difference, turned_or_swapped
from classifier_training.exporters.verification import figures_of_file, versions
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.pillow_state import pixel_limit, silenced
from classifier_training.imaging.preprocess import normalize, resize_and_crop
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import softmax
from classifier_training.inference.session import END_TO_END_INPUT, LOGITS, open_session
from classifier_training.types import Preprocessing

PIXELS: Final = "before/pixels"
"""Inside of the graph: what the resize and the crop gave, uint8 (N, 3, S, S)."""
TOLERANCE_FACTOR: Final = 50
"""The tolerance of a logit is that of the form ``onnx`` times this: some pixels differ by one grey level."""

_OUTPUTS: Final = ("label_index", "probabilities", "logits")
TIE: Final = "labels"
"""The stage of an image of which everything is as it should be except for the label."""
MOST_TIES: Final = 0.01
"""Share of the images, at least one, that may get the label of a class with (nearly) the same logit."""
_UNLIKE: Final = "the end-to-end file does not answer like the model"
_MOST_BYTES: Final = 256 << 20
"""Images of a batch beyond this are cut to a corner."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a file gives for N images: int64 (N,), float32 (N, K), float32 (N, K)."""

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]


def compare_end_to_end(path: Path, model: nn.Module, images: ProofImages, settings: ExportSettings) -> dict[str, Any]:
    """Accepts a file that gives the labels of PyTorch, decoding the files of the images with nothing but Pillow.

    Args:
        path: The exported file.
        model: What it was exported from: on the CPU, in evaluation mode, float32.
        images: Real images with their files.
        settings: How exact it must be: ``tolerance`` is that of a logit of the network, given the same pixels. From
            the file of an image 50 times as much is allowed, as onnxruntime's resize rounds some pixels to the next
            grey level.

    Returns:
        As `compare_onnx`, with ``opset_version``, and as ``tolerance`` what was allowed from the file of an image.
        ``num_ties`` images got another label, because the rounding of pixels decides between two classes whose logits
        are nearer than what is allowed; so may one in a hundred. Images of a batch have one size: those of more than
        one are images of the most common size, or a corner of each, where they are large. If the file fails, ``stage``
        is where: decode, resize, normalise, network, decision or labels.

    Raises:
        ExportError: There are no files.
    """
    if not images.originals:
        raise ExportError("the form end-to-end is proven on the files of images, and there are none")
    allowed = replace(settings, tolerance=settings.tolerance * TOLERANCE_FACTOR)
    figures = figures_of_file(path, len(images.prepared), allowed.tolerance, versions())
    expected = logits_of_model(model, images)
    reason = reason_of_model(expected)
    if reason is not None:
        return figures | {"max_abs_logit_difference": None, "reason": reason}
    try:
        return figures | _Comparison(path, model, replace(images, logits=expected), settings.tolerance).figures(allowed)
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        if is_out_of_memory(error):
            raise  # `export_verified` explains it
        message = " ".join(str(error).split())
        reason = f"onnxruntime cannot run the exported file: {message}"
        return figures | {"stage": "network", "error": message, "reason": reason}


def decode_plainly(content: bytes, max_pixels: int | None) -> NDArray[np.uint8]:
    """What a program without this package makes of an image file: uint8 (H, W, 3), upright RGB."""
    with silenced(), pixel_limit(max_pixels), Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


class _Comparison:
    """A file beside the model; ``images`` have the logits of the model."""

    def __init__(self, path: Path, model: nn.Module, images: ProofImages, tolerance: float) -> None:
        self._graph = _OpenedGraph(path, model, images, tolerance)
        self._session = open_session(path, num_threads=None)
        self._images = images
        self._expected = logits_of_model(model, images)
        self._trained = images.card or self._graph.card
        self._ties = set[int]()

    def figures(self, allowed: ExportSettings) -> dict[str, Any]:
        """All images one by one, and some of one size in larger batches."""
        answers, shapes = list[_Answer](), list[tuple[int, ...]]()
        staged = set(spread(len(self._expected), NUM_IN_BATCHES).tolist())
        for position, original in enumerate(self._images.originals):
            pixels = self._pixels(position)
            answer = None if pixels is None else self._run(pixels[None])
            if answer is None or position in staged or not self._is_alike(position, answer, allowed.tolerance):
                difference = self._graph.first_difference(original, position)
                if difference is not None and not self._is_tie(position, difference):
                    return _refusal(original.name, difference)
            if pixels is None or answer is None:
                return _refusal(original.name, Difference("decode", "Pillow alone cannot decode it"))
            answers.append(answer)
            shapes.append(pixels.shape)
        compared = [self._compared(1, np.arange(len(answers)), answers)]
        compared += [self._in_batches(size, shapes) for size in BATCH_SIZES[1:]]
        figures = summary(compared) | {"opset_version": self._graph.opset_version, "num_ties": len(self._ties)}
        _, reason = ANSWERS_ALIKE.judge([self._without_ties(answers) for answers in compared], allowed)
        if reason is None and self._graph.card.classes != self._trained.classes:
            return figures | _refusal(self._images.originals[0].name, Difference("labels", "other class names"))
        if reason is not None:
            return figures | {"stage": "network", "reason": f"{_UNLIKE}: {reason}; try the other exporter"}
        return figures | {"passed": True}

    def _pixels(self, position: int) -> NDArray[np.uint8] | None:
        """A decoded image; None where Pillow alone cannot decode it."""
        try:
            limit = self._trained.preprocessing.max_image_pixels
            return decode_plainly(self._images.originals[position].content, limit)
        except Exception:  # Pillow's plugins raise a dozen kinds; `first_difference` names this one
            return None

    def _run(self, pixels: NDArray[np.uint8]) -> _Answer:
        return _Answer(*self._session.run(list(_OUTPUTS), {END_TO_END_INPUT: pixels}))

    def _is_alike(self, position: int, answer: _Answer, allowed: float) -> bool:
        """Whether label and logits are those of the model."""
        expected = self._expected[position]
        is_near = largest_difference(answer.logits[0], expected) <= allowed  # NaN is not
        return is_near and int(answer.labels[0]) == int(answer.logits[0].argmax()) == int(expected.argmax())

    def _is_tie(self, position: int, difference: Difference) -> bool:
        """Whether two classes are so near each other that the rounding of a pixel decides, as in few images it may."""
        if difference.stage == TIE:
            self._ties.add(position)
        return difference.stage == TIE and len(self._ties) <= max(1, int(MOST_TIES * len(self._expected)))

    def _without_ties(self, answers: Answers) -> Answers:
        """The answers to the other images; all where there are no others."""
        others = np.array([position not in self._ties for position in answers.positions.tolist()])
        if others.all() or not others.any():
            return answers
        return replace(
            answers,
            positions=answers.positions[others],
            found=answers.found[others],
            expected=answers.expected[others],
            labels=answers.labels[others],
        )

    def _compared(self, size: int, order: NDArray[np.int64], answers: Sequence[_Answer]) -> Answers:
        labels, card = true_labels(self._images), self._trained
        logits = np.concatenate([one.logits for one in answers])
        probabilities = np.concatenate([one.probabilities for one in answers])
        temperature = card.temperature or 1.0
        return Answers(
            size, order, logits, self._expected[order], labels[order], temperature, probabilities=probabilities
        )

    def _in_batches(self, size: int, shapes: Sequence[tuple[int, ...]]) -> Answers:
        """Images of one size in batches of exactly ``size``, the last one filled up from the start."""
        common = Counter(shapes).most_common(1)[0][0]
        of_size = [position for position, shape in enumerate(shapes) if shape == common]
        order = in_whole_batches(np.array(of_size, np.int64), size)
        side = math.isqrt(_MOST_BYTES // (3 * size))
        is_cut = math.prod(common) * size > _MOST_BYTES
        answers, expected = list[_Answer](), list[NDArray[np.float32]]()
        for part in order.reshape(-1, size).tolist():
            # a copy each: a view would keep the whole photo in memory, of which there may be 64
            decoded = map(self._pixels, part)
            cut = [one[:side, :side].copy() if is_cut else one for one in decoded if one is not None]
            answers.append(self._run(np.stack(cut)))
            expected += [self._run(one[None]).logits[0] for one in cut] if is_cut else []
        compared = self._compared(size, order, answers)
        return replace(compared, expected=np.stack(expected)) if is_cut else compared


def _refusal(image: str, difference: Difference) -> dict[str, Any]:
    reason = f"{_UNLIKE}: {image} differs at the stage {difference.stage}: {difference.detail}"
    return {"passed": False, "stage": difference.stage, "image": image, "reason": reason}


class _OpenedGraph:
    """An exported file whose inner values are outputs, too.

    Attributes:
        card: Of the file.
        opset_version: Of the file.
    """

    def __init__(self, path: Path, model: nn.Module, images: ProofImages, tolerance: float) -> None:
        exported = onnx.load(str(path))
        card = DeploymentCard.from_metadata({one.key: one.value for one in exported.metadata_props}, str(path))
        if card is None:
            raise ExportError("its metadata has no deployment card")
        self.card = card
        self._model, self._images, self._tolerance = model, images, tolerance
        self._defaults = defaults_of(exported.graph)
        (self.opset_version,) = (one.version for one in exported.opset_import if one.domain in {"", "ai.onnx"})
        size = card.preprocessing.image_size
        for name, kind in ((PIXELS, TensorProto.UINT8), ("input", TensorProto.FLOAT)):
            exported.graph.output.append(helper.make_tensor_value_info(name, kind, ["N", 3, size, size]))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        content = exported.SerializeToString()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def first_difference(self, original: OriginalImage, position: int) -> Difference | None:
        """The first stage at which the graph does something else with an image file than the trainer; or None."""
        trained = self._images.card or self.card
        wanted = decode_image(original.content, original.name, decoding=trained.preprocessing.decoding)
        try:
            pixels = decode_plainly(original.content, trained.preprocessing.max_image_pixels)
        except Exception as error:  # Pillow's plugins raise a dozen kinds
            return Difference("decode", f"Pillow alone cannot decode it: {first_line(error)}")
        if pixels.shape != wanted.shape or (pixels != wanted).any():
            return Difference("decode", "Pillow's convert('RGB') gives other pixels, as of 16-bit images")
        names = [*OUTPUTS, PIXELS, "input"]
        answer = dict(zip(names, self._session.run(names, {END_TO_END_INPUT: pixels[None]}), strict=True))
        labels, probabilities, logits, cut, prepared = (answer[name] for name in (*_OUTPUTS, PIXELS, "input"))
        difference = self._of_resize(position, pixels, cut[0].transpose(1, 2, 0), trained.preprocessing)
        if difference is not None:
            return difference
        of_model = outputs_of(self._model, torch.from_numpy(prepared))
        expected, allowed = logits_of_model(self._model, self._images)[position], self._tolerance * TOLERANCE_FACTOR
        normalised = normalize(cut[0].transpose(1, 2, 0), trained.preprocessing)
        of_logits = softmax(logits / (trained.temperature or 1.0))
        for stage, what, found, most in (
            ("normalise", "", largest_difference(prepared[0], normalised), SAME),
            ("network", "of a logit", largest_difference(logits, of_model[LOGITS]), self._tolerance),
            ("decision", "of a probability", largest_difference(probabilities, of_logits), SAME),
            ("decision", "of the label", float(labels[0] != logits[0].argmax()), 0),
            *(("decision", *one) for one in decision_differences(answer, of_model, trained, self._defaults)),
            ("resize", "of a logit", largest_difference(logits[0], expected), allowed),
            (TIE, "of the label", float(labels[0] != expected.argmax()), 0),
        ):
            if not found <= most:  # NaN, too
                return Difference(stage, f"difference {what} {found:.3g}, {most:.3g} is allowed")
        return None

    def _of_resize(
        self, position: int, pixels: NDArray[np.uint8], cut: NDArray[np.uint8], preprocessing: Preprocessing
    ) -> Difference | None:
        """Whether the graph resizes and crops as the trainer does, to one grey level; both are uint8 (S, S, 3)."""
        own = self._images.pixels
        wanted = resize_and_crop(pixels, preprocessing) if own is None else own[position]
        largest = largest_difference(cut, wanted)
        if largest <= 1:
            return None
        found = turned_or_swapped(pixels, lambda image: resize_and_crop(image, preprocessing), cut)
        found = found or turned_or_swapped(pixels, lambda image: resize_and_crop(image, preprocessing), wanted)
        return found or Difference("resize", f"difference grey levels {largest:.3g}, 1 is allowed")
