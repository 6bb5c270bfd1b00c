from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.helpers.run_folders import RunMaker, edit_json

from classifier_training.pages.read.onnx_file import read_onnx
from classifier_training.run.folder import RunFolder
from classifier_training.run.records import read_record
from classifier_training.run.verification import Verification


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunMaker(2, num_images=4).make(tmp_path / "run")


def test_only_the_very_file_that_was_compared_is_verified(run: RunFolder) -> None:
    verification = read_record(run.verification, Verification)

    file = read_onnx(run.onnx, verification, best_epoch=2)

    assert file.is_verified
    assert file.sha256 == hashlib.sha256(run.onnx.read_bytes()).hexdigest()
    assert file.size == run.onnx.stat().st_size
    assert not read_onnx(run.onnx, None, best_epoch=2).is_verified
    assert not read_onnx(run.onnx, verification, best_epoch=None).is_verified
    run.onnx.write_bytes(b"changed")
    assert not read_onnx(run.onnx, verification, best_epoch=2).is_verified


@pytest.mark.parametrize("changes", [{"passed": False}, {"sha256": None}, {"sha256": "0" * 64}, {"epoch": 1}])
def test_a_comparison_that_failed_or_is_of_another_file_or_epoch_proves_nothing(
    run: RunFolder, changes: dict[str, object]
) -> None:
    edit_json(run.verification, **changes)

    assert not read_onnx(run.onnx, read_record(run.verification, Verification), best_epoch=2).is_verified
