from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.helpers.run_folders import RunMaker, edit_json

from classifier_training.pages.read.model_data import read_model_info, read_onnx, read_verification
from classifier_training.pages.read.reading import DamagedFileError
from classifier_training.run.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunMaker(2, num_images=4).make(tmp_path / "run")


def test_the_model_is_read(run: RunFolder) -> None:
    info = read_model_info(run.model_info)

    assert (info.model, info.input, info.num_parameters) == ("resnet18", (3, 224, 224), 11_178_051)
    assert info.latency is not None
    assert info.latency.median_ms == 21.5


def test_what_was_not_measured_is_none(run: RunFolder) -> None:
    edit_json(run.model_info, flops=None, latency=None)

    info = read_model_info(run.model_info)

    assert (info.flops, info.latency) == (None, None)


def test_a_file_of_another_kind_is_refused(run: RunFolder) -> None:
    with pytest.raises(DamagedFileError):
        read_model_info(run.verification)
    with pytest.raises(DamagedFileError):
        read_verification(run.model_info)


def test_only_the_very_file_that_was_compared_is_proven(run: RunFolder) -> None:
    verification = read_verification(run.verification)

    file = read_onnx(run.onnx, verification, is_finished=True)

    assert file.is_proven
    assert file.sha256 == hashlib.sha256(run.onnx.read_bytes()).hexdigest()
    assert file.size == run.onnx.stat().st_size
    assert not read_onnx(run.onnx, None, is_finished=True).is_proven
    assert not read_onnx(run.onnx, verification, is_finished=False).is_proven
    run.onnx.write_bytes(b"changed")
    assert not read_onnx(run.onnx, verification, is_finished=True).is_proven


@pytest.mark.parametrize("changes", [{"passed": False}, {"sha256": None}, {"sha256": "0" * 64}])
def test_a_comparison_that_failed_or_is_of_another_file_proves_nothing(
    run: RunFolder, changes: dict[str, object]
) -> None:
    edit_json(run.verification, **changes)

    assert not read_onnx(run.onnx, read_verification(run.verification), is_finished=True).is_proven
