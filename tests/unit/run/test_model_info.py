from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.run_folders import RunMaker, edit_json

from classifier_training.run.folder import RunFolder
from classifier_training.run.model_info import ModelInfo
from classifier_training.run.records import DamagedFileError, read_record


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunMaker(2, num_images=4).make(tmp_path / "run")


def test_a_file_of_an_early_version_is_read(run: RunFolder) -> None:
    info = read_record(run.model_info, ModelInfo)

    assert (info.model, info.input, info.num_parameters) == ("resnet18", (3, 224, 224), 11_178_051)
    assert info.latency is not None
    assert (info.latency.min_ms, info.latency.median_ms, info.latency.shortest_ms) == (None, 21.5, 21.5)


def test_what_was_not_measured_is_none(run: RunFolder) -> None:
    edit_json(run.model_info, flops=None, latency=None, input=None)

    info = read_record(run.model_info, ModelInfo)

    assert (info.flops, info.latency, info.input) == (None, None, None)


def test_a_file_of_another_kind_is_refused(run: RunFolder) -> None:
    with pytest.raises(DamagedFileError):
        read_record(run.verification, ModelInfo)
