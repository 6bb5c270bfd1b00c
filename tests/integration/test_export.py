"""`export`: again, with the other exporter, and what a failed comparison leaves behind."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import onnx
import pytest
import timm
import torch
from tests.helpers.cli import TINY, Trained, WarmProgram
from tests.helpers.run_folders import edit_json

from classifier_training.run.folder import RunFolder

FEW_IMAGES = ("export.max_points_lost=50", "export.calibration_images=6")
"""For forms that round: a run of few images cannot be strict."""


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> RunFolder:
    """A copy of the run, to be changed."""
    shutil.copytree(trained.run.root, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_what_training_exported(trained: Trained) -> None:
    model = onnx.load(trained.run.onnx)
    figures = json.loads(trained.run.verification.read_text(encoding="utf-8"))
    labels = json.loads(trained.run.labels_mapping.read_text(encoding="utf-8"))
    best = torch.load(trained.run.best_checkpoint, weights_only=True)

    (images,) = model.graph.input
    assert (images.name, model.graph.output[0].name) == ("input", "logits")
    batch, *rest = images.type.tensor_type.shape.dim
    assert batch.dim_param
    assert [axis.dim_value for axis in rest] == [3, 32, 32]
    assert figures["passed"] is True
    assert figures["top1_agreement"] == 1.0
    assert figures["max_abs_logit_difference"] <= 1e-3
    assert [one["batch_size"] for one in figures["batch_sizes"]] == [1, 2, 7, 64]
    assert figures["epoch"] == best["epoch"]
    assert figures["recorded"] is None or figures["recorded"]["top1_agreement"] == 1.0
    assert figures["sha256"] == hashlib.sha256(trained.run.onnx.read_bytes()).hexdigest()
    assert labels["class_to_idx"] == {"blue": 0, "green": 1, "red": 2}
    assert labels["idx_to_class"] == {"0": "blue", "1": "green", "2": "red"}
    assert labels["num_classes"] == 3
    assert labels["normalization"].keys() == {"mean", "std"}
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["versions"])["torch"]
    assert any("green" in value for value in metadata.values())


def test_other_predictions_than_the_training_recorded_are_a_warning(program: WarmProgram, copied: RunFolder) -> None:
    folder = copied.scored("val")
    best = torch.load(copied.best_checkpoint, weights_only=True)
    edit_json(folder.scores, epoch=best["epoch"])
    rows = folder.predictions.read_text(encoding="utf-8").splitlines()
    cells = [row.split(",") for row in rows]
    rows = [rows[0], *(",".join([*one[:2], "blue", *one[3:]]) for one in cells[1:])]
    folder.predictions.write_text("\n".join(rows) + "\n", encoding="utf-8")

    finished = program("export", copied.root)

    assert finished.code == 0, finished
    assert "warning: the validation of the training gave other labels for" in finished.err + finished.out
    assert "was predicted as 'blue' and is now as '" in finished.err + finished.out
    recorded = json.loads(copied.verification.read_text(encoding="utf-8"))["recorded"]
    assert recorded["num_images"] > 0
    assert recorded["top1_agreement"] < 1


def test_exporting_again_gives_the_same_file(program: WarmProgram, copied: RunFolder) -> None:
    before = copied.onnx.read_bytes()
    shutil.rmtree(copied.export)

    finished = program("export", copied.root)

    assert finished.code == 0, finished
    assert "top-1 agreement 100%" in finished.out
    assert copied.onnx.read_bytes() == before
    assert copied.labels_mapping.is_file()


def test_images_that_have_been_replaced_verify_nothing(program: WarmProgram, copied: RunFolder) -> None:
    before = copied.onnx.read_bytes()
    rows = copied.split.read_text(encoding="utf-8").splitlines()
    of_val = [number for number, row in enumerate(rows) if row.startswith("val,")]
    first = rows[of_val[0]].split(",")
    for number in of_val[:2]:  # as if the files had another content now
        cells = rows[number].split(",")
        rows[number] = ",".join([*cells[:3], "0" * 31 + "1", *cells[4:]])
    copied.split.write_text("\n".join(rows) + "\n", encoding="utf-8")

    finished = program("export", copied.root)

    assert finished.code == 2
    assert len(finished.err.splitlines()) == 1
    assert f"error: the val split of {copied.root}: 2 of " in finished.err
    assert f"{first[2]}, " in finished.err
    assert copied.onnx.read_bytes() == before


def test_a_file_that_was_changed_is_replaced_only_if_asked(program: WarmProgram, copied: RunFolder) -> None:
    copied.onnx.write_bytes(b"changed by hand")
    before = {path: path.read_bytes() for path in copied.export.iterdir()}

    refused = program("export", copied.root)

    assert (refused.code, len(refused.err.splitlines())) == (2, 1)
    assert f"error: {copied.onnx} is not the file that was exported: its SHA-256 is not that in" in refused.err
    assert "--overwrite" in refused.err
    assert {path: path.read_bytes() for path in copied.export.iterdir()} == before
    assert program("export", copied.root, "--overwrite", "--quiet").code == 0
    assert onnx.load(copied.onnx).graph.input


@pytest.mark.parametrize(
    ("changed", "line"),
    [("train,", "has no validation images, on which"), ("val,", "it is one of the validation images, on which")],
)
def test_what_cannot_be_proven_is_exported_only_as_unproven(
    program: WarmProgram, copied: RunFolder, changed: str, line: str
) -> None:
    rows = copied.split.read_text(encoding="utf-8").splitlines()
    rows = [row.replace("val,", changed, 1) if row.startswith("val,") else row for row in rows]
    if changed == "val,":  # as where the photos are on another machine
        cells = [row.split(",") for row in rows]
        rows = [",".join([*one[:2], f"{one[2]}-gone", *one[3:]]) if one[0] == "val" else ",".join(one) for one in cells]
    copied.split.write_text("\n".join(rows) + "\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in copied.export.iterdir()}

    refused = program("export", copied.root)
    after = {path: path.read_bytes() for path in copied.export.iterdir()}
    finished = program("export", copied.root, "--unproven")

    assert (refused.code, len(refused.err.splitlines())) == (2, 1)
    assert line in refused.err
    assert "export it unproven with --unproven" in refused.err
    assert after == before
    assert finished.code == 0, finished
    assert "model.unproven.onnx is unproven: nothing has compared it with the trained model" in finished.out
    written = onnx.load(copied.export / "model.unproven.onnx")
    assert "unproven" in {entry.key for entry in written.metadata_props}
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(copied.export.iterdir())) == len(before) + 1


def test_a_form_is_named_or_refused(program: WarmProgram, copied: RunFolder) -> None:
    before = copied.onnx.read_bytes()

    assert program("export", copied.root, "--form", "onnx").code == 0
    finished = program("export", copied.root, "--format", "tflite")

    assert finished.code == 2
    (line,) = finished.err.splitlines()
    assert line == (
        "error: there is no export form 'tflite'; allowed are onnx, end-to-end, fp16, int8, safetensors, torch-export,"
        " openvino"
    )
    assert copied.onnx.read_bytes() == before
    results = json.loads(copied.results.read_text(encoding="utf-8"))
    assert results["exports"] == {"onnx": results["export"]}


def test_the_file_from_pixels_to_labels(program: WarmProgram, copied: RunFolder) -> None:
    before = copied.onnx.read_bytes()

    finished = program("export", copied.root, "--form", "end-to-end")

    assert finished.code == 0, finished
    names = "labels_mapping.json, verification_e2e.json and model_card.md"
    assert f"model_e2e.onnx, with {names} in the same folder" in " ".join(finished.out.split())
    figures = json.loads(copied.end_to_end_verification.read_text(encoding="utf-8"))
    assert (figures["passed"], figures["top1_agreement"], figures["opset_version"]) == (True, 1.0, 19)
    assert figures["top1"] == figures["top1_of_model"]
    assert copied.onnx.read_bytes() == before
    scores = [
        program("evaluate", model, "--json").json["top1"] for model in (copied.best_checkpoint, copied.end_to_end)
    ]
    assert scores[0] == scores[1]

    refused = program("export", copied.root, "--form", "end-to-end", "export.tolerance=1e-12")
    assert refused.code == 1
    (line,) = refused.err.splitlines()
    assert line.startswith("error: the end-to-end file does not answer like the model: ")
    assert not copied.end_to_end.exists()
    assert copied.onnx.read_bytes() == before


def test_the_form_of_half_the_size(program: WarmProgram, copied: RunFolder, photos: Path) -> None:
    before = copied.onnx.read_bytes()

    finished = program("export", copied.root, "--form", "fp16", *FEW_IMAGES)

    assert finished.code == 0, finished
    assert "model_fp16.onnx, with labels_mapping.json, verification_fp16.json and model_card.md in" in finished.out
    figures = json.loads(copied.fp16_verification.read_text(encoding="utf-8"))
    assert (figures["passed"], figures["max_points_lost"]) == (True, 50)
    assert figures["p_value"] > 0
    assert copied.fp16.stat().st_size < len(before)
    assert copied.onnx.read_bytes() == before
    assert same_outputs(copied.fp16, copied.onnx)
    assert program("evaluate", copied.fp16, "--split", "val", "--json").json["top1"] == figures["top1"]
    assert program("predict", copied.fp16, photos).code == 0
    assert program("export", copied.root, "--form", "fp16", "--unproven").code == 0
    assert (copied.export / "model_fp16.unproven.onnx").stat().st_size < len(before)


def test_the_quantised_form(program: WarmProgram, copied: RunFolder, photos: Path) -> None:
    unproven = program("export", copied.root, "--form", "int8", "--unproven")
    assert unproven.code == 1
    assert unproven.err.splitlines() == [
        "error: the form int8 is made by training and validation images: without them there is none, not even unproven"
    ]
    assert not list(copied.export.glob("*int8*"))

    finished = program("export", copied.root, "--form", "int8", "export.min_speedup=0", *FEW_IMAGES)

    assert finished.code == 0, finished
    assert "8-bit schemes on " in finished.out
    assert all(word in finished.out for word in ("float32", "u8s8, 7-bit weights", "s8s8", "taken"))
    figures = json.loads(copied.int8_verification.read_text(encoding="utf-8"))
    assert figures["passed"] is True
    assert figures["calibration"]["num_images"] == 6
    assert len(figures["calibration"]["sha256"]) == 64
    assert same_outputs(copied.int8, copied.onnx)
    assert program("evaluate", copied.int8, "--split", "val", "--json").json["top1"] == figures["top1"]
    assert program("predict", copied.int8, photos).code == 0
    assert program("report", copied.root).code == 0
    assert "u8s8, 7-bit weights, ends float" in copied.report.read_text(encoding="utf-8")

    copied.fp16.write_bytes(b"of an earlier epoch")
    copied.fp16_verification.write_text('{"passed": true, "epoch": 999}', encoding="utf-8")
    refused = program("export", copied.root, "--form", "int8", "export.min_speedup=1e6", *FEW_IMAGES)

    assert refused.code == 1
    assert not copied.fp16.exists()
    (line,) = refused.err.splitlines()
    assert line.startswith("error: int8 is not worth it on this CPU: the fastest accurate way, ")
    assert "too slow" in refused.out
    assert not copied.int8.exists()
    assert json.loads(copied.int8_verification.read_text(encoding="utf-8"))["passed"] is False
    assert copied.onnx.is_file()


def test_calibration_images_that_have_been_replaced(program: WarmProgram, copied: RunFolder) -> None:
    copied.int8.write_bytes(b"of an earlier export")
    rows = copied.split.read_text(encoding="utf-8").splitlines()
    changed = [",".join([*row.split(",")[:3], "0" * 31 + "1", *row.split(",")[4:]]) for row in rows if "train," in row]
    kept = [row for row in rows if not row.startswith("train,")]
    copied.split.write_text("\n".join([*kept, *changed]) + "\n", encoding="utf-8")

    finished = program("export", copied.root, "--form", "int8", "--overwrite")

    assert finished.code == 2
    (line,) = finished.err.splitlines()
    assert line.startswith(f"error: the train split of {copied.root}: ")
    assert "have another content than when the run began" in line
    assert copied.int8.read_bytes() == b"of an earlier export"
    assert not copied.int8_verification.exists()


@pytest.mark.parametrize(
    "setting", ["export.max_points_lost=-1", "export.calibration_images=0", "export.min_speedup=-1"]
)
def test_settings_out_of_range(program: WarmProgram, trained: Trained, setting: str) -> None:
    finished = program("export", trained.run.root, "--form", "int8", setting)

    assert finished.code == 2
    (line,) = finished.err.splitlines()
    assert setting.split("=")[0] in line
    assert not trained.run.int8_verification.exists()


def same_outputs(path: Path, other: Path) -> bool:
    """Whether two files have the same inputs, outputs and deployment card."""
    first, second = (onnx.load(str(one)) for one in (path, other))
    cards = [
        {one.key: one.value for one in model.metadata_props if "_" in one.key and one.key != "self_test"}
        for model in (first, second)
    ]
    is_same = list(first.graph.input) == list(second.graph.input) and cards[0] == cards[1]
    return is_same and [one.name for one in first.graph.output] == [one.name for one in second.graph.output]


def test_a_file_of_other_weights_is_removed(program: WarmProgram, copied: RunFolder) -> None:
    copied.end_to_end.write_bytes(b"of an earlier epoch")
    copied.end_to_end_verification.write_text('{"passed": true, "epoch": 999}', encoding="utf-8")
    epoch = json.loads(copied.verification.read_text(encoding="utf-8"))["epoch"]
    for path, verification, weights in (
        (copied.fp16, copied.fp16_verification, '"another average of the same epoch"'),
        (copied.int8, copied.int8_verification, "null"),
    ):
        path.write_bytes(b"of the same epoch")
        text = f'{{"passed": true, "epoch": {epoch}, "weights_hash": {weights}}}'
        verification.write_text(text, encoding="utf-8")

    finished = program("export", copied.root)

    assert finished.code == 0, finished
    assert f"removed: {copied.end_to_end}, of other weights; export it again: --form end-to-end" in finished.out
    assert f"removed: {copied.fp16}, of other weights; export it again: --form fp16" in finished.out
    assert copied.int8.exists()  # an earlier version recorded no hash
    assert not copied.end_to_end.exists()
    assert not copied.end_to_end_verification.exists()


def test_timm_loads_the_weights_by_itself(program: WarmProgram, copied: RunFolder) -> None:
    finished = program("export", copied.root, "--form", "safetensors")

    assert finished.code == 0, finished
    weights = copied.exported("safetensors")
    names = "config.json, labels_mapping.json, verification.safetensors.json and model_card.md"
    assert f"written: {weights}, with {names} in the same folder" in " ".join(finished.out.split())
    config = json.loads((copied.export / "config.json").read_text(encoding="utf-8"))
    assert (config["architecture"], config["num_classes"]) == ("test_byobnet", 3)
    assert config["label_names"] == ["blue", "green", "red"]
    figures = json.loads((copied.export / "verification.safetensors.json").read_text(encoding="utf-8"))
    assert set(figures["loaded_by"]) == {"checkpoint_path", "local-dir"}
    assert figures["own_reading"]["max_abs_input_difference"] < 1e-6

    best = torch.load(copied.best_checkpoint, weights_only=True)["state_dict"]
    model = timm.create_model(config["architecture"], num_classes=3, checkpoint_path=str(weights))
    assert all(torch.equal(value, best[f"backbone.{name}"]) for name, value in model.state_dict().items())


def test_openvino_that_is_not_installed_is_one_line(program: WarmProgram, copied: RunFolder) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in copied.root.rglob("*"))
    script = (
        "import runpy, sys; sys.modules['openvino'] = None; runpy.run_module('classifier_training', None, '__main__')"
    )

    finished = program.python(script, "export", copied.root, "--form", "openvino")

    assert finished.code == 2
    (line,) = finished.err.splitlines()
    assert line.startswith("error: --form openvino needs the package openvino, which is not installed; install it with")
    assert "pip install 'classifier-training[openvino]'" in line
    assert sorted((path, path.stat().st_mtime_ns) for path in copied.root.rglob("*")) == before


def test_the_other_exporter_scores_the_same(program: WarmProgram, copied: RunFolder) -> None:
    finished = program("export", copied.root, "export.exporter=dynamo")
    assert finished.code == 0, finished

    assert json.loads(copied.verification.read_text())["exporter"] == "dynamo"
    scores = [program("evaluate", model, "--json").json["top1"] for model in (copied.best_checkpoint, copied.onnx)]
    assert scores[0] == scores[1]


def test_a_failed_comparison_leaves_no_model(program: WarmProgram, copied: RunFolder) -> None:
    finished = program("export", copied.root, "export.tolerance=1e-12")

    assert finished.code == 1
    (line,) = finished.err.splitlines()
    assert line.startswith("error: the exported file does not answer like the model")
    assert not copied.onnx.exists()
    figures = json.loads(copied.verification.read_text(encoding="utf-8"))
    assert figures["passed"] is False
    assert figures["max_abs_logit_difference"] > 1e-12


def test_a_failed_comparison_after_training_keeps_checkpoints_and_scores(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    settings = (*TINY, "trainer.max_epochs=1", "export.tolerance=1e-12", "run.name=bad")
    finished = program("train", photos, *settings, folder=tmp_path)

    run = RunFolder(tmp_path / "runs" / "bad")
    assert finished.code == 1
    assert len(finished.err.splitlines()) == 1
    assert not run.onnx.exists()
    assert json.loads(run.verification.read_text())["passed"] is False
    assert json.loads(run.results.read_text())["test"]["num_images"] > 0
    assert "does not answer like the model" in run.log.read_text(encoding="utf-8")

    mended = program("export", run.root, "export.tolerance=1e-3")
    assert mended.code == 0, mended
    assert run.onnx.is_file()


def test_settings_of_the_trained_model_cannot_be_changed(program: WarmProgram, copied: RunFolder) -> None:
    before = copied.onnx.read_bytes()

    finished = program("export", copied.root, "data.image_size=64", "export.exporter=dynamo")

    assert finished.code == 2
    assert "takes settings of export. and decision. only, not data.image_size=64: the model is already" in finished.err
    assert copied.onnx.read_bytes() == before
