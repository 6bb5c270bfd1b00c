"""A file that is broken on purpose is refused, with the first image that differs and the stage at which it does."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from PIL import Image
from tests.helpers.torch_models import make_batch, make_network, make_proof_images

from classifier_training.exporters.acceptance import AS_ACCURATE
from classifier_training.exporters.forms import ExportSettings, OriginalImage, ProofImages
from classifier_training.exporters.onnx import export_onnx
from classifier_training.exporters.proof import Deployed, prove, spread
from classifier_training.exporters.verification import compare_onnx, open_with_provider
from classifier_training.inference.card import DeploymentCard
from classifier_training.types import Preprocessing

CARD = DeploymentCard(("a", "b", "c", "d"), Preprocessing(image_size=16, crop_pct=0.7), temperature=0.5)
IMAGES = make_proof_images(CARD.preprocessing, card=CARD)
SETTINGS = ExportSettings()
Change = Callable[[onnx.ModelProto], None]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("built") / "model.onnx"
    export_onnx(make_network(), path, make_batch(2), SETTINGS, CARD.to_metadata())
    return onnx.load(str(path))


def compare(folder: Path, built: onnx.ModelProto, change: Change, images: ProofImages = IMAGES) -> dict[str, Any]:
    """The figures of a file after a change."""
    model = onnx.ModelProto()
    model.CopyFrom(built)
    change(model)
    onnx.save(model, str(folder / "model.onnx"))
    figures = compare_onnx(folder / "model.onnx", make_network(), images, SETTINGS)
    json.dumps(figures, allow_nan=False)
    return figures


def card(**changes: Any) -> Change:
    """Another card in the metadata."""

    def change(model: onnx.ModelProto) -> None:
        helper.set_model_props(model, replace(CARD, **changes).to_metadata())

    return change


def preprocessing(**changes: Any) -> Change:
    return card(preprocessing=replace(CARD.preprocessing, **changes))


def before_network(*nodes: tuple[str, Any]) -> Change:
    """Operators with one constant each between the input and the network."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.input[:] = ["changed" if name == "input" else name for name in node.input]
        name = "input"
        for number, (operator, constant) in enumerate(nodes):
            values = numpy_helper.from_array(np.asarray(constant), f"constant{number}")
            model.graph.initializer.append(values)
            output = "changed" if number + 1 == len(nodes) else f"changed{number}"
            node = helper.make_node(operator, [name, values.name], [output])
            if operator == "Gather":
                node.attribute.append(helper.make_attribute("axis", 1))
            model.graph.node.insert(number, node)
            name = output

    return change


def columns(values: tuple[float, ...]) -> Any:
    return np.asarray(values, np.float32).reshape(1, 3, 1, 1)


def permute_logits(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if "logits" in node.output)
    node.output[:] = ["ordered" if name == "logits" else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 0, 2, 3]), "order"))
    model.graph.node.append(helper.make_node("Gather", ["ordered", "order"], ["logits"], axis=1))


def fix_batch_axis(model: onnx.ModelProto) -> None:
    """The file says that any batch goes in, and its graph takes one image."""
    node = next(node for node in model.graph.node if "logits" in node.output)
    node.output[:] = ["free" if name == "logits" else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 4]), "shape"))
    model.graph.node.append(helper.make_node("Reshape", ["free", "shape"], ["logits"]))


SWAPPED = ("b", "a", "c", "d")
NOT_NORMALISED = (("Mul", columns(CARD.preprocessing.std)), ("Add", columns(CARD.preprocessing.mean)))


@pytest.mark.parametrize(
    ("stage", "change", "detail"),
    [
        ("resize", preprocessing(interpolation="bilinear"), "interpolation is bilinear in the file, bicubic in train"),
        ("resize", preprocessing(crop_pct=0.9), "crop_pct is 0.9 in the file"),
        ("resize", preprocessing(image_size=17, crop_pct=0.75), "17 x 17 pixels instead of 16 x 16"),
        ("normalise", preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)), "mean is (0.0, 0.0, 0.0) in the file"),
        ("normalise", before_network(*NOT_NORMALISED), "its network gets values that are not normalised"),
        ("network", before_network(("Gather", np.array([2, 1, 0]))), "it takes blue, green, red"),
        ("network", before_network(("Add", columns((1, 1, 1)))), "difference of a logit "),
        ("labels", permute_logits, "the logits are those of the model, in another order of the classes"),
        ("labels", card(classes=SWAPPED), "the file calls it "),
        ("labels", card(classes=("a", "b", "c")), "the file calls it "),
        ("decision", card(temperature=0.7), "the temperature is 0.7 in the file, 0.5 in training"),
    ],
)
def test_what_is_broken_is_caught_and_its_stage_named(
    tmp_path: Path, built: onnx.ModelProto, stage: str, change: Change, detail: str
) -> None:
    figures = compare(tmp_path, built, change)

    assert (figures["passed"], figures.get("stage")) == (False, stage), figures
    assert (
        f"the exported file does not answer like the model: {figures['image']} differs at the stage {stage}: "
        in (figures["reason"])
    )
    assert detail in figures["reason"]
    assert "\n" not in figures["reason"]


def test_the_figures_of_a_good_file(tmp_path: Path, built: onnx.ModelProto) -> None:
    figures = compare(tmp_path, built, lambda _: None)

    assert (figures["passed"], figures["top1_agreement"], figures["num_images"]) == (True, 1.0, len(IMAGES.originals))
    assert not figures.keys() & {"reason", "error", "stage", "image"}
    assert [one["batch_size"] for one in figures["batch_sizes"]] == [1, 2, 7, 64]
    assert figures["max_abs_logit_difference"] < 1e-5
    assert figures["max_abs_probability_difference"] < 1e-5
    assert figures["top1"] == figures["top1_of_model"]
    assert figures["predicted"]["top1_agreement"] == 1.0
    assert figures["predicted"]["max_abs_probability_difference"] < 1e-5


def test_a_fixed_batch_axis_names_the_batch_size(tmp_path: Path, built: onnx.ModelProto) -> None:
    figures = compare(tmp_path, built, fix_batch_axis)

    assert (figures["passed"], figures["stage"]) == (False, "network")
    assert "onnxruntime cannot run the exported file: " in figures["reason"]
    assert "(in batches of 2)" in figures["reason"]


def on_its_side(pixels: Any, file: io.BytesIO) -> None:
    """A file whose EXIF entry says that it lies on its side; the trainer's pixels are those that are stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(file, "PNG", exif=exif)


def with_blue_first(pixels: Any, file: io.BytesIO) -> None:
    Image.fromarray(np.ascontiguousarray(pixels[:, :, ::-1])).save(file, "PNG")


@pytest.mark.parametrize(
    ("save", "detail"),
    [
        (on_its_side, "its EXIF orientation is treated otherwise"),
        (with_blue_first, "red and blue are exchanged"),
    ],
)
def test_the_trainer_has_decoded_otherwise(
    tmp_path: Path, built: onnx.ModelProto, save: Callable[[Any, io.BytesIO], None], detail: str
) -> None:
    files = []
    for original in IMAGES.originals:
        file = io.BytesIO()
        save(np.asarray(Image.open(io.BytesIO(original.content))), file)
        files.append(OriginalImage(original.name, file.getvalue(), 0))

    figures = compare(tmp_path, built, lambda _: None, replace(IMAGES, originals=files))

    assert (figures["passed"], figures["stage"], figures["image"]) == (False, "decode", "0.png")
    assert detail in figures["reason"]


def test_the_first_image_that_differs_is_named(tmp_path: Path, built: onnx.ModelProto) -> None:
    broken = [*IMAGES.originals]
    broken[3] = OriginalImage("broken.png", b"no image")
    of_model = compare(tmp_path, built, lambda _: None, replace(IMAGES, originals=broken))
    logits = make_network()(IMAGES.prepared).detach().numpy()
    logits[5] += 0.01
    of_trainer = compare(tmp_path, built, lambda _: None, replace(IMAGES, logits=logits))

    assert (of_model["stage"], of_model["image"]) == ("decode", "broken.png")
    assert (of_trainer["stage"], of_trainer["image"]) == ("network", "5.png")
    assert "of a logit 0.01, 0.001 is allowed" in of_trainer["reason"]
    assert of_trainer["top1_agreement"] == 1.0


def test_a_provider_is_opened_or_refused(tmp_path: Path, built: onnx.ModelProto) -> None:
    onnx.save(built, str(tmp_path / "model.onnx"))

    session = open_with_provider(tmp_path / "model.onnx", "CPUExecutionProvider")

    assert session.run(None, {"input": make_batch(2).numpy()})[0].shape == (2, 4)
    with pytest.raises(Exception, match="CUDAExecutionProvider"), pytest.warns(UserWarning, match="CUDA"):
        open_with_provider(tmp_path / "model.onnx", "CUDAExecutionProvider")


class Scored:
    """100 images, whose true class is 0, with logits of a model that predicts 90 of them correctly."""

    def __init__(self, num_lost: int, num_won: int = 0) -> None:
        self.logits = np.zeros((100, 4), np.float32)
        self.logits[:90, 0], self.logits[90:, 1] = 1, 1
        self.of_file = self.logits.copy()
        self.of_file[:num_lost] = [0, 0, 1, 0]
        self.of_file[90 : 90 + num_won] = [2, 0, 0, 0]
        content = Image.new("RGB", (1, 1))
        file = io.BytesIO()
        content.save(file, "PNG")
        originals = [OriginalImage(f"{number}.png", file.getvalue(), 0) for number in range(100)]
        numbers = torch.arange(100, dtype=torch.float32)[:, None, None, None].expand(100, 3, 1, 1)
        self.images = ProofImages(numbers, originals, logits=self.logits)

    def figures(self, settings: ExportSettings) -> dict[str, Any]:
        deployed = Deployed(lambda images: self.of_file[images[:, 0, 0, 0].astype(int)], None)
        return prove(deployed, make_network(), self.images, settings, AS_ACCURATE)


@pytest.mark.parametrize(
    ("lost", "won", "settings", "reason"),
    [
        (0, 0, ExportSettings(), None),
        (1, 0, ExportSettings(), None),
        (4, 6, ExportSettings(), None),
        (
            3,
            0,
            ExportSettings(),
            "its accuracy is 3.00 points lower, 1 are allowed (export.max_points_lost): 3 of 100 im",
        ),
        (8, 0, ExportSettings(max_points_lost=20), "it is significantly less accurate, p = 0.0078, less than 0.05"),
        (8, 0, ExportSettings(max_points_lost=20, significance=0.001), None),
    ],
)
def test_fewer_bits_are_judged_by_their_accuracy(
    lost: int, won: int, settings: ExportSettings, reason: str | None
) -> None:
    figures = Scored(lost, won).figures(settings)

    assert figures["passed"] is (reason is None), figures
    assert (figures["num_only_model"], figures["num_only_file"]) == (lost, won)
    assert figures["points_lost"] == pytest.approx(lost - won)
    assert figures["top1_of_model"] == pytest.approx(0.9)
    if reason is not None:
        assert reason in figures["reason"]
        assert figures["image"] == "0.png"


def test_fewer_bits_must_give_the_same_in_batches() -> None:
    scored = Scored(0)
    by_number = scored.of_file

    def run(images: Any) -> Any:
        logits = by_number[images[:, 0, 0, 0].astype(int)]
        return logits if len(images) < 7 else logits[::-1].copy() - 10 * np.eye(4, dtype=np.float32)[0]

    figures = prove(Deployed(run, None), make_network(), scored.images, ExportSettings(), AS_ACCURATE)

    assert not figures["passed"]
    assert "in batches of 7, " in figures["reason"]


@pytest.mark.parametrize(("most", "passed"), [(7, True), (2, False)])
def test_a_machine_without_memory_for_the_largest_batch_loses_no_export(most: int, passed: bool) -> None:
    scored = Scored(0)

    def run(images: Any) -> Any:
        if len(images) > most:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 99")
        return scored.of_file[images[:, 0, 0, 0].astype(int)]

    if passed:
        figures = prove(Deployed(run, None), make_network(), scored.images, SETTINGS)
        assert (figures["passed"], figures["out_of_memory"]) == (True, 64)
        assert [one["batch_size"] for one in figures["batch_sizes"]] == [1, 2, 7]
    else:
        with pytest.raises(RuntimeError, match="Failed to allocate"):
            prove(Deployed(run, None), make_network(), scored.images, SETTINGS)


def test_images_are_taken_from_all_over_a_list() -> None:
    assert spread(3, 10).tolist() == [0, 1, 2]
    assert spread(500, 256)[[0, -1]].tolist() == [0, 499]
    assert len(spread(500, 256)) == 256
    assert spread(1, 1).tolist() == [0]
