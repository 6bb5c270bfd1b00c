"""What a served file is called."""

from __future__ import annotations

from pathlib import Path

from classifier_training.run.folder import RunFolder
from classifier_training.serve.server import model_name


def test_a_file_is_called_as_its_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "shirts")
    run.export.mkdir(parents=True)
    run.config.touch()
    (tmp_path / "latest").symlink_to(run.root)
    (tmp_path / "export").mkdir()

    names = [model_name(path) for path in (run.onnx, run.end_to_end, tmp_path / "latest" / "export" / "model.onnx")]

    assert names == ["shirts"] * 3
    assert model_name(tmp_path / "export" / "model.onnx") == "model"  # that is no run
    assert model_name(run.root / "other.onnx") == "other"
