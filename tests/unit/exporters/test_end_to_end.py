"""The graph around the network does what `imaging.preprocess` does, and every stage of it is proven."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from tests.helpers.torch_models import make_batch, make_network, make_proof_images

from classifier_training.errors import CheckpointError, ConfigError, ExportError
from classifier_training.exporters import end_to_end_proof
from classifier_training.exporters.end_to_end import FORM, export_end_to_end
from classifier_training.exporters.end_to_end_proof import PIXELS, compare_end_to_end
from classifier_training.exporters.forms import ExportSettings, OriginalImage, ProofImages
from classifier_training.exporters.verified import export_verified
from classifier_training.imaging.preprocess import preprocess, resize_and_crop
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import OnnxClassifier, softmax
from classifier_training.run.folder import ExportFolder
from classifier_training.types import Interpolation, Preprocessing

PREPROCESSING = Preprocessing(image_size=16, crop_pct=0.7)  # 22 pixels, so 3 are cut off
CARD = DeploymentCard(("a", "b", "c", "d"), PREPROCESSING, temperature=0.5)
IMAGES = make_proof_images(PREPROCESSING, card=CARD)


def build(path: Path, card: DeploymentCard = CARD) -> Path:
    """A file of the form, not compared with anything."""
    images = make_batch(2, card.preprocessing.image_size)
    export_end_to_end(make_network(), path, images, ExportSettings(), card.to_metadata())
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("built") / "model_e2e.onnx")


def inside(path: Path) -> onnxruntime.InferenceSession:
    """A session of a file that gives the pixels after the crop."""
    model = onnx.load(str(path))
    model.graph.output.append(onnx.helper.make_tensor_value_info(PIXELS, onnx.TensorProto.UINT8, None))
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_photos_of_extreme_shape_are_accepted(tmp_path: Path, interpolation: Interpolation) -> None:
    card = replace(CARD, preprocessing=replace(PREPROCESSING, interpolation=interpolation))
    sizes = [(5, 100), (100, 5), (30, 1000), (1000, 30), (700, 40)]
    images = make_proof_images(card.preprocessing, sizes, card=card)

    figures = compare_end_to_end(build(tmp_path / "model_e2e.onnx", card), make_network(), images, ExportSettings())

    assert figures["passed"] is True, figures


def test_large_photos_are_in_memory_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch has 64 of them."""
    images = make_proof_images(PREPROCESSING, [(400, 400)] * 2, card=CARD)
    path, network = build(tmp_path / "model_e2e.onnx"), make_network()
    monkeypatch.setattr(end_to_end_proof, "_MOST_BYTES", 64 * 3 * 30 * 30)

    tracemalloc.start()
    try:
        figures = compare_end_to_end(path, network, images, ExportSettings())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert figures["passed"] is True, figures
    assert most < 20 * 3 * 400 * 400


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("side", "share"), [(16, 0.7), (17, 0.875), (96, 1.0)])
def test_every_size_is_resized_and_cropped_as_by_pillow(
    tmp_path: Path, interpolation: Interpolation, side: int, share: float
) -> None:
    preprocessing = Preprocessing(image_size=side, crop_pct=share, interpolation=interpolation)
    session = inside(build(tmp_path / "file.onnx", replace(CARD, preprocessing=preprocessing)))
    generator = np.random.default_rng(side)
    sizes = [(1, 1), (1, 13), (13, 1), (2, 3), (16, 16), (22, 25), (23, 22), (101, 67), (67, 101), (300, 20), (301, 40)]
    sizes += [(121, 60), (120, 60), (500, 125), (20, 315), (40, 1000)]

    for height, width in sizes:
        pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        (cropped,) = session.run([PIXELS], {"images": pixels[None]})
        wanted = resize_and_crop(pixels, preprocessing)
        difference = np.abs(cropped[0].transpose(1, 2, 0).astype(int) - wanted)
        assert difference.max() <= 1, (height, width)
        assert (difference > 0).mean() < 0.06, (height, width)


def test_one_file_goes_from_pixels_to_a_decision(built: Path) -> None:
    session = onnxruntime.InferenceSession(str(built), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)

    labels, probabilities, logits = session.run(["label_index", "probabilities", "logits"], {"images": pixels})

    prepared = torch.from_numpy(np.stack([preprocess(one, PREPROCESSING) for one in pixels]))
    with torch.no_grad():
        wanted = make_network()(prepared).numpy()
    assert (labels.dtype, labels.shape, labels.tolist()) == (np.int64, (5,), wanted.argmax(axis=1).tolist())
    np.testing.assert_allclose(logits, wanted, atol=0.05)
    np.testing.assert_allclose(probabilities, softmax(logits / 0.5), atol=1e-6)
    (image,) = session.get_inputs()
    assert (image.type, image.shape) == ("tensor(uint8)", ["N", "H", "W", 3])


def test_older_consumers_can_open_it(built: Path) -> None:
    model = onnx.load(str(built))

    assert model.ir_version <= 10
    assert {one.domain for one in model.opset_import} <= {"", "ai.onnx"}
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert [one.version for one in model.opset_import] == [19]


def test_figures_of_an_accepted_file(built: Path) -> None:
    figures = compare_end_to_end(built, make_network(), IMAGES, ExportSettings())

    assert (figures["passed"], figures["top1_agreement"], figures["num_images"]) == (True, 1.0, len(IMAGES.originals))
    assert [one["batch_size"] for one in figures["batch_sizes"]] == [1, 2, 7, 64]
    assert figures["max_abs_logit_difference"] <= figures["tolerance"]
    assert figures["max_abs_probability_difference"] < 0.05
    assert figures["top1"] == figures["top1_of_model"]
    assert figures["opset_version"] == 19
    assert "reason" not in figures


@pytest.mark.parametrize(("num_others", "passed"), [(1, True), (2, False)])
def test_a_label_may_differ_where_the_rounding_of_pixels_decides(built: Path, num_others: int, passed: bool) -> None:
    with torch.no_grad():
        logits = make_network()(IMAGES.prepared).numpy()
    for row in logits[3 : 3 + num_others]:
        row[row.argmin()] = row.max() + 1e-4  # nearer than what is allowed from the file of an image

    figures = compare_end_to_end(built, make_network(), replace(IMAGES, logits=logits), ExportSettings(tolerance=1))

    assert figures["passed"] is passed, figures
    if passed:
        assert figures["num_ties"] == 1
        assert figures["top1_agreement"] < 1
    else:
        assert (figures["stage"], figures["image"]) == ("labels", "4.png")


def attribute(operator: str, name: str, value: object) -> Callable[[onnx.ModelProto], None]:
    """Changes an attribute of all such operators."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            if node.op_type == operator:
                kept = [one for one in node.attribute if one.name != name]
                del node.attribute[:]
                node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return change


def swap_channels(model: onnx.ModelProto) -> None:
    """Blue comes first."""
    node = next(node for node in model.graph.node if node.op_type == "Transpose")
    order = numpy_helper.from_array(np.array([2, 1, 0]), "order")
    model.graph.initializer.append(order)
    turned = onnx.helper.make_node("Gather", ["images", "order"], ["bgr"], axis=3)
    node.input[0] = "bgr"
    model.graph.node.insert(0, turned)


def scale_constant(value: float) -> Callable[[onnx.ModelProto], None]:
    """Another number in place of the first constant of that value, of one element."""

    def change(model: onnx.ModelProto) -> None:
        for constant in model.graph.initializer:
            values = numpy_helper.to_array(constant)
            if values.dtype == np.float32 and values.size == 1 and values.item() == np.float32(value):
                constant.CopyFrom(numpy_helper.from_array(values * np.float32(1.5), constant.name))
                return
        raise AssertionError(value)

    return change


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        ("resize", attribute("Resize", "mode", "linear")),
        ("resize", attribute("Resize", "exclude_outside", 0)),
        ("decode", swap_channels),
        ("normalise", scale_constant(255)),
        ("decision", scale_constant(0.5)),
    ],
)
def test_what_is_broken_is_caught_and_its_stage_named(
    tmp_path: Path, built: Path, stage: str, change: Callable[[onnx.ModelProto], None]
) -> None:
    model = onnx.load(str(built))
    change(model)
    onnx.save(model, str(tmp_path / "broken.onnx"))

    figures = compare_end_to_end(tmp_path / "broken.onnx", make_network(), IMAGES, ExportSettings())

    assert (figures["passed"], figures.get("stage")) == (False, stage), figures
    assert f".png differs at the stage {stage}: " in figures["reason"]
    json.dumps(figures, allow_nan=False)


def test_other_weights_differ_in_the_network(built: Path) -> None:
    figures = compare_end_to_end(built, make_network(seed=1), IMAGES, ExportSettings())

    assert (figures["passed"], figures["stage"], figures["image"]) == (False, "network", "0.png")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"interpolation": "lanczos"}, "data.interpolation=lanczos: its graph resizes by bilinear or bicubic"),
        ({"interpolation": "nearest"}, "data.interpolation=nearest: "),
        ({"background": (255, 255, 255)}, "data.background: transparency is gone"),
        ({"integer_range": (0.0, 4095.0)}, "data.integer_range: its graph begins with 8-bit pixels"),
    ],
)
def test_what_the_graph_cannot_do_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    card = replace(CARD, preprocessing=replace(PREPROCESSING, **changed))

    with pytest.raises(ConfigError, match=message) as caught:
        export_verified(make_network(), ExportFolder(tmp_path), IMAGES, FORM, ExportSettings(), card)

    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_without_a_card_or_files_there_is_nothing_to_prove(tmp_path: Path, built: Path) -> None:
    with pytest.raises(ExportError, match="needs class names and preprocessing"):
        export_verified(make_network(), ExportFolder(tmp_path), IMAGES, FORM, ExportSettings())
    with pytest.raises(ExportError, match="on the files of images, and there are none"):
        compare_end_to_end(built, make_network(), ProofImages(IMAGES.prepared), ExportSettings())


def test_deep_images_that_pillow_alone_decodes_otherwise_are_named(built: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((30, 40), 30000, np.uint16)).save(file, "PNG")
    images = ProofImages(IMAGES.prepared, (IMAGES.originals[0], OriginalImage("deep.png", file.getvalue())))

    figures = compare_end_to_end(built, make_network(), replace(images, prepared=images.prepared[:2]), ExportSettings())

    assert (figures["passed"], figures["stage"], figures["image"]) == (False, "decode", "deep.png")


def test_the_classifier_takes_the_file(built: Path) -> None:
    classifier = OnnxClassifier(built)
    contents = [original.content for original in IMAGES.originals]

    predictions = classifier.predict_images(contents)

    with torch.no_grad():
        wanted = softmax(make_network()(IMAGES.prepared).numpy() / 0.5)
    assert [one.index for one in predictions] == wanted.argmax(axis=1).tolist()
    np.testing.assert_allclose([one.probabilities for one in predictions], wanted, atol=0.01)
    with pytest.raises(CheckpointError, match="there is no --tta flip; name the"):
        classifier.predict_images(contents, tta="flip")
