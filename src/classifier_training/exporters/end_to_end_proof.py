"""Compares a file of the form ``end-to-end`` with the model, from the files of real images to labels."""

from __future__ import annotations

import hashlib
import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image, ImageOps
from torch import nn

from classifier_training.errors import ExportError, first_line
from classifier_training.exporters.forms import OriginalImage, ProofImages
from classifier_training.exporters.verification import BATCH_SIZES, reason_of_model, versions
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.pillow_state import pixel_limit, silenced
from classifier_training.imaging.preprocess import normalize, resize_and_crop
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import softmax
from classifier_training.inference.session import END_TO_END_INPUT, END_TO_END_OUTPUTS, open_session

PIXELS: Final = "before/pixels"
"""Inside of the graph: what the resize and the crop gave, uint8 (N, 3, S, S)."""
TOLERANCE_FACTOR: Final = 50
"""The tolerance of a logit is that of the form ``onnx`` times this: some pixels differ by one grey level."""
_UNLIKE: Final = "the end-to-end file does not answer like the model"
_SAME: Final = 1e-5
"""How far values of the same computation may differ: normalised pixels, probabilities."""


class _Difference(NamedTuple):
    stage: str
    detail: str


class _Answer(NamedTuple):
    """What a file gives for N images: int64 (N,), float32 (N, K), float32 (N, K)."""

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]


def compare_end_to_end(path: Path, model: nn.Module, images: ProofImages, tolerance: float = 1e-3) -> dict[str, Any]:
    """Accepts a file that gives the labels of PyTorch, decoding the files of the images with nothing but Pillow.

    Args:
        path: The exported file.
        model: What it was exported from: on the CPU, in evaluation mode, float32.
        images: Real images with their files.
        tolerance: Largest allowed difference of a logit of the network, given the same pixels. From the file of an
            image 50 times as much is allowed, as onnxruntime's resize rounds some pixels to the next grey level.

    Returns:
        As `compare_onnx`, with ``max_abs_probability_difference``, ``top1`` of the file and ``top1_of_model`` where all
        labels are known, ``opset_version``, and as ``tolerance`` what was allowed from the file of an image. Images of
        a batch have one size: those of more than one are images of the most common size. If the file fails, ``stage``
        is where: decode, resize, normalise, network or decision.

    Raises:
        ExportError: There are no files.
    """
    if not images.originals:
        raise ExportError("the form end-to-end is proven on the files of images, and there are none")
    with torch.no_grad():
        expected = model(images.prepared.detach().to("cpu", torch.float32)).numpy()
    figures: dict[str, Any] = {"passed": False, "num_images": len(expected), "tolerance": tolerance * TOLERANCE_FACTOR}
    figures |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "versions": versions()}
    reason = reason_of_model(expected)
    if reason is not None:
        return figures | {"max_abs_logit_difference": None, "reason": reason}
    try:
        figures |= _compare_all(path, model, images.originals, expected, tolerance)
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        message = " ".join(str(error).split())
        figures |= {"error": message, "reason": f"onnxruntime cannot run the exported file: {message}"}
    return figures


def _compare_all(
    path: Path, model: nn.Module, originals: Sequence[OriginalImage], expected: NDArray[np.float32], tolerance: float
) -> dict[str, Any]:
    """The figures of a file; ``expected`` are the logits (n, K) that the trainer scores."""
    graph, shapes = _OpenedGraph(path), list[tuple[int, ...]]()
    for original, logits in zip(originals, expected, strict=True):
        pixels, difference = graph.first_difference(original, logits, model, tolerance)
        if difference is not None:
            reason = f"{original.name} differs at the stage {difference.stage}: {difference.detail}"
            return {"stage": difference.stage, "image": original.name, "reason": f"{_UNLIKE}: {reason}"}
        shapes.append(pixels.shape)
    session, limit = open_session(path, num_threads=None), graph.card.preprocessing.max_image_pixels
    compared, found = list[dict[str, Any]](), np.zeros(0, np.int64)
    for size in BATCH_SIZES:
        order = _of_one_size(shapes, size)
        answers = []
        for part in order.reshape(-1, size):
            pixels = np.stack([decode_plainly(originals[position].content, limit) for position in part])
            answers.append(session.run(END_TO_END_OUTPUTS, {END_TO_END_INPUT: pixels}))
        answer = _Answer(*(np.concatenate(parts) for parts in zip(*answers, strict=True)))
        found = answer.labels if size == 1 else found
        compared.append({"batch_size": size} | _figures_of(answer, expected[order], graph.card))
    figures = _summary(compared, tolerance * TOLERANCE_FACTOR) | {"opset_version": graph.opset_version}
    return figures | _accuracy(originals, found, expected)


def decode_plainly(content: bytes, max_pixels: int | None) -> NDArray[np.uint8]:
    """What a program without this package makes of an image file: uint8 (H, W, 3), upright RGB."""
    with silenced(), pixel_limit(max_pixels), Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


class _OpenedGraph:
    """An exported file whose inner values are outputs, too.

    Attributes:
        card: Of the file.
        opset_version: Of the file.
    """

    def __init__(self, path: Path) -> None:
        exported = onnx.load(str(path))
        card = DeploymentCard.from_metadata({one.key: one.value for one in exported.metadata_props}, str(path))
        if card is None:
            raise ExportError("its metadata has no deployment card")
        self.card = card
        (self.opset_version,) = (one.version for one in exported.opset_import if one.domain in {"", "ai.onnx"})
        size = card.preprocessing.image_size
        for name, kind in ((PIXELS, TensorProto.UINT8), ("input", TensorProto.FLOAT)):
            exported.graph.output.append(helper.make_tensor_value_info(name, kind, ["N", 3, size, size]))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        content = exported.SerializeToString()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def first_difference(
        self, original: OriginalImage, expected: NDArray[np.float32], model: nn.Module, tolerance: float
    ) -> tuple[NDArray[np.uint8], _Difference | None]:
        """The pixels of an image file, and the first stage at which the graph does something else with it; or None."""
        preprocessing = self.card.preprocessing
        wanted = decode_image(original.content, original.name, decoding=preprocessing.decoding)
        try:
            pixels = decode_plainly(original.content, preprocessing.max_image_pixels)
        except Exception as error:  # Pillow's plugins raise a dozen kinds
            return wanted, _Difference("decode", f"Pillow alone cannot decode it: {first_line(error)}")
        if pixels.shape != wanted.shape or (pixels != wanted).any():
            return wanted, _Difference("decode", "Pillow's convert('RGB') gives other pixels, as of 16-bit images")
        answer = self._session.run([*END_TO_END_OUTPUTS, PIXELS, "input"], {END_TO_END_INPUT: pixels[None]})
        labels, probabilities, logits, resized, prepared = answer
        with torch.no_grad():
            of_model = model(torch.from_numpy(prepared)).numpy()
        resized = resized[0].transpose(1, 2, 0)
        stages = (
            ("resize", "grey levels", _largest(resized, resize_and_crop(pixels, preprocessing)), 1),
            ("normalise", "", _largest(prepared[0], normalize(resized, preprocessing)), _SAME),
            ("network", "of a logit", _largest(logits, of_model), tolerance),
            ("decision", "of a probability", _largest(probabilities, _probabilities(logits, self.card)), _SAME),
            ("decision", "of the label", float(labels[0] != logits[0].argmax()), 0),
            ("resize", "of a logit", _largest(logits[0], expected), tolerance * TOLERANCE_FACTOR),
            ("resize", "of the label", float(labels[0] != expected.argmax()), 0),
        )
        for stage, what, difference, allowed in stages:
            if not difference <= allowed:  # NaN, too
                return pixels, _Difference(stage, f"difference {what} {difference:.3g}, {allowed:.3g} is allowed")
        return pixels, None


def _largest(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The largest difference of two arrays of one shape; infinite where the shapes differ."""
    if found.shape != wanted.shape:
        return math.inf
    return float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max())


def _probabilities(logits: NDArray[np.float32], card: DeploymentCard) -> NDArray[np.float64]:
    return softmax(logits / (card.temperature or 1.0))


def _of_one_size(shapes: Sequence[tuple[int, ...]], batch_size: int) -> NDArray[np.int64]:
    """The positions of images for whole batches, repeated from the start; all of one size where a batch needs that."""
    common = Counter(shapes).most_common(1)[0][0]
    chosen = [position for position, shape in enumerate(shapes) if batch_size == 1 or shape == common]
    return np.resize(chosen, math.ceil(len(chosen) / batch_size) * batch_size)


def _accuracy(
    originals: Sequence[OriginalImage], found: NDArray[np.int64], expected: NDArray[np.float32]
) -> dict[str, float]:
    """The top-1 accuracy of the file and of the model; nothing where a label is not known."""
    labels = [original.label for original in originals if original.label is not None]
    if len(labels) < len(originals):
        return {}
    return {"top1": float((found == labels).mean()), "top1_of_model": float((expected.argmax(axis=1) == labels).mean())}


def _figures_of(answer: _Answer, expected: NDArray[np.float32], card: DeploymentCard) -> dict[str, Any]:
    """How far N answers are from the model's logits (N, K)."""
    logits = _largest(answer.logits, expected)
    probabilities = _largest(answer.probabilities, _probabilities(expected, card))
    return {
        "top1_agreement": float((answer.labels == expected.argmax(axis=1)).mean()),
        # JSON has no NaN, and a NaN is a difference
        "max_abs_logit_difference": logits if math.isfinite(logits) else None,
        "max_abs_probability_difference": probabilities if math.isfinite(probabilities) else None,
    }


def _summary(compared: Sequence[dict[str, Any]], allowed: float) -> dict[str, Any]:
    """The figures over all batch sizes, and whether the file is accepted."""
    figures: dict[str, Any] = {"top1_agreement": min(one["top1_agreement"] for one in compared)}
    for name in ("max_abs_logit_difference", "max_abs_probability_difference"):
        values = [one[name] for one in compared]
        figures[name] = None if None in values else max(values)
    figures["batch_sizes"] = list(compared)
    for one in compared:
        difference = one["max_abs_logit_difference"]
        if one["top1_agreement"] < 1 or difference is None or difference > allowed:
            found = "not a finite number" if difference is None else f"{difference:.3g}"
            reason = f"{one['top1_agreement']:.2%} of the labels agree and a logit differs by {found}"
            size = f"in batches of {one['batch_size']} images, one by one they pass"
            return figures | {"stage": "network", "reason": f"{_UNLIKE}: {reason} {size}; try the other exporter"}
    return figures | {"passed": True}
