"""OpenVINO's files: what they hold, that nothing is reported to anybody, and what is left of files that differ."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.helpers.torch_models import make_batch, make_network

from classifier_training.errors import ConfigError
from classifier_training.exporters.forms import ExportSettings, ProofImages, check_form, export_form
from classifier_training.exporters.openvino import FORM
from classifier_training.exporters.quantization import SCHEMES, Quantizer
from classifier_training.inference.openvino_package import import_openvino
from classifier_training.inference.session import open_session
from classifier_training.run.folder import RunFolder

IMAGES = ProofImages(make_batch())

IMPORTS = """
import json, sys

calls = []
sys.addaudithook(lambda event, arguments: calls.append(event) if event.startswith(("socket.", "subprocess.")) else None)
from classifier_training.inference.openvino_package import import_openvino

openvino = import_openvino()
openvino.Core()
telemetry = sorted(name for name in sys.modules if name.startswith("openvino_telemetry"))
print(json.dumps([telemetry, calls, hasattr(openvino, "save_model")]))
"""


def test_the_card_is_in_the_files(tmp_path: Path) -> None:
    path, names = tmp_path / "model.xml", json.dumps(["a & <b>", "猫 \"'"], ensure_ascii=False)
    FORM.build(make_network(), path, make_batch(), ExportSettings(), {"class_names": names})

    model = import_openvino().Core().read_model(str(path))

    assert model.get_rt_info(["classifier_training", "class_names"]).astype(str) == names
    assert model.inputs[0].get_any_name() == "input"
    assert "logits" in {name for output in model.outputs for name in output.get_names()}
    assert re.search(r"dynamic|-1", path.read_text(encoding="utf-8"))
    assert "f16" not in path.read_text(encoding="utf-8").casefold()


def test_weights_of_another_model_are_found(tmp_path: Path) -> None:
    model, path = make_network(), tmp_path / "model.xml"
    FORM.build(model, path, make_batch(), ExportSettings(), {})
    assert FORM.acceptance(path, model, IMAGES, ExportSettings())["passed"] is True
    other = tmp_path / "other.xml"
    FORM.build(make_network(seed=1), other, make_batch(), ExportSettings(), {})
    other.with_suffix(".bin").replace(path.with_suffix(".bin"))

    figures = FORM.acceptance(path, model, IMAGES, ExportSettings())

    assert figures["passed"] is False
    assert "in OpenVINO the exported file does not answer like the model" in figures["reason"]


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    model, path = make_network(), tmp_path / "model.xml"
    FORM.build(model, path, make_batch(), ExportSettings(), {})
    path.write_bytes(path.read_bytes()[:300])

    figures = FORM.acceptance(path, model, IMAGES, ExportSettings())

    assert figures["reason"].startswith("OpenVINO cannot run the exported file: ")
    assert "\n" not in figures["reason"]


def test_openvino_reads_the_quantised_onnx_file(tmp_path: Path) -> None:
    network, images = make_network(), make_batch(32).numpy()
    source, quantised = tmp_path / "model.onnx", tmp_path / "model_int8.onnx"
    export_form("onnx").build(network, source, make_batch(), ExportSettings(), {})
    Quantizer(source, images, tmp_path).quantize(SCHEMES[0], (), quantised)
    session = open_session(quantised, 1)
    expected = session.run(["logits"], {"input": images})[0]

    core = import_openvino().Core()
    found = core.compile_model(core.read_model(str(quantised)), "CPU")([images])["logits"]

    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(str(quantised)).graph.node)
    assert np.abs(found - expected).max() < 0.05 * np.ptp(expected)


def test_nothing_is_reported_to_the_maker_of_openvino(tmp_path: Path) -> None:
    environment = {"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", IMPORTS]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == [[], [], True]
    assert list(tmp_path.iterdir()) == []  # it would keep there by what it knows a user again


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)

    with pytest.raises(ConfigError) as caught:
        check_form("openvino")

    assert "pip install 'classifier-training[openvino]'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_killed_export_left_is_removed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.export.mkdir()
    for name in (".model.xml.abc.tmp", ".model.xml.abc.bin"):
        (run.export / name).write_bytes(b"")
    run.openvino_weights.write_bytes(b"finished")

    run.remove_unfinished()

    assert list(run.export.iterdir()) == [run.openvino_weights]
